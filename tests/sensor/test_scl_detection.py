"""Traffic held against a station description alone, and together with what was learned."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from detectors.base import Alert
from detectors.baseline import Baseline
from detectors.compare import diff, merge
from sensor.cli import main
from sensor.engines import open_engine
from sensor.pipeline import detect, learn
from sensor.scl.devices import station_of
from sensor.scl.document import parse
from sensor.scl.tables import baseline_of, import_into
from tests.lab import bus, iso
from tests.lab import frames as f

T0 = 1_700_000_000
GROUP, SV_GROUP = "01:0c:cd:01:00:0a", "01:0c:cd:04:00:01"
IED_A, IED_B, OTHER = "00:0c:29:00:00:0a", "00:0c:29:00:00:0b", "00:0c:29:00:00:66"

SCD = """<SCL xmlns="http://www.iec.ch/61850/2003/SCL" version="2007" revision="B"><Header id="s"/>
<Communication><SubNetwork name="Bus">
 <ConnectedAP iedName="BAY_A" apName="P1"><Address><P type="IP">10.0.0.10</P></Address>
  <GSE ldInst="L" cbName="g"><Address><P type="MAC-Address">01-0C-CD-01-00-0A</P><P type="APPID">3001</P>
   <P type="VLAN-ID">00A</P></Address><MaxTime>1000</MaxTime></GSE>
  <GSE ldInst="L" cbName="h"><Address><P type="MAC-Address">01-0C-CD-01-00-0A</P><P type="APPID">3002</P>
   <P type="VLAN-ID">00A</P></Address></GSE>
  <SMV ldInst="L" cbName="s"><Address><P type="MAC-Address">01-0C-CD-04-00-01</P><P type="APPID">4000</P>
   <P type="VLAN-ID">005</P></Address></SMV></ConnectedAP>
 <ConnectedAP iedName="BAY_B" apName="P1"><Address><P type="IP">10.0.0.11</P></Address>
  <GSE ldInst="L" cbName="g"><Address><P type="MAC-Address">01-0C-CD-01-00-0B</P><P type="APPID">3003</P>
   <P type="VLAN-ID">00A</P></Address><MaxTime>2000</MaxTime></GSE></ConnectedAP>
 <ConnectedAP iedName="HMI" apName="P1"><Address><P type="IP">10.0.0.20</P></Address></ConnectedAP>
</SubNetwork></Communication>
<IED name="BAY_A"><AccessPoint name="P1"><Server><LDevice inst="L"><LN0 lnClass="LLN0" inst="" lnType="N">
 <DataSet name="d"><FCDA ldInst="L" lnClass="LLN0" doName="Pos" fc="ST"/>
  <FCDA ldInst="L" lnClass="LLN0" doName="Hz" daName="mag.f" fc="MX"/></DataSet>
 <DataSet name="e"><FCDA ldInst="L" lnClass="LLN0" doName="Pos" daName="q" fc="ST"/></DataSet>
 <ReportControl name="r"><RptEnabled><ClientLN iedName="HMI" apRef="P1"/></RptEnabled></ReportControl>
 <GSEControl name="g" datSet="d" appID="trip" confRev="3" desc="trip of bay A"/>
 <GSEControl name="h" datSet="e" appID="aux" confRev="1"/>
 <SampledValueControl name="s" datSet="d" smvID="MU01" smpRate="80" nofASDU="1" confRev="1"/>
</LN0></LDevice></Server></AccessPoint></IED>
<IED name="BAY_B"><AccessPoint name="P1"><Server><LDevice inst="L"><LN0 lnClass="LLN0" inst="" lnType="N">
 <DataSet name="d"><FCDA ldInst="L" lnClass="LLN0" doName="Pos" daName="stVal" fc="ST"/></DataSet>
 <GSEControl name="g" datSet="d" appID="b" confRev="1"/>
</LN0></LDevice></Server></AccessPoint></IED>
<IED name="HMI"><AccessPoint name="P1"/></IED>
<DataTypeTemplates><LNodeType id="N"><DO name="Pos" type="DPC"/><DO name="Hz" type="MV"/></LNodeType>
 <DOType id="DPC"><DA name="stVal" fc="ST" bType="Dbpos"/><DA name="q" fc="ST" bType="Quality"/>
  <DA name="t" fc="ST" bType="Timestamp"/></DOType>
 <DOType id="MV"><DA name="mag" fc="MX" bType="Struct" type="F"/></DOType>
 <DAType id="F"><BDA name="f" bType="FLOAT32"/></DAType></DataTypeTemplates></SCL>"""

GOOD = {
    "ref": "BAY_AL/LLN0$GO$g", "data": "BAY_AL/LLN0$d", "ident": "trip", "revision": 3, "appid": 0x3001,
    "group": GROUP, "vlan": 10, "source": IED_A, "entries": None, "lifetime": 4000, "changed": 0,
}  # fmt: skip
BLOCK_H = {"ref": "BAY_AL/LLN0$GO$h", "data": "BAY_AL/LLN0$e", "ident": "aux", "revision": 1, "appid": 0x3002}
BLOCK_B = {
    "ref": "BAY_BL/LLN0$GO$g", "data": "BAY_BL/LLN0$d", "ident": "b", "revision": 1, "appid": 0x3003,
    "group": "01:0c:cd:01:00:0b", "source": IED_B,
}  # fmt: skip
ENTRIES_H, ENTRIES_B = [f.g_quality()], [f.g_dbpos(2)]


def at(seconds: float) -> int:
    """ns of a moment after the start of the capture."""
    return (T0 * 1_000_000 + round(seconds * 1e6)) * 1000


def values() -> list[bytes]:
    return [f.g_struct([f.g_dbpos(2), f.g_quality(), f.g_time(T0 * 10**9)]), f.g_float(50.0)]


def goose(seconds: float, state: int, number: int, **changes: object) -> f.Stamped:
    said = GOOD | changes
    pdu = f.goose_pdu(
        said["ref"], said["lifetime"], said["data"], said["ident"], at(said["changed"]), state, number,
        values() if said["entries"] is None else said["entries"], conf_rev=said["revision"],
    )  # fmt: skip
    frame = f.goose_frame(said["group"], said["source"], said["appid"], pdu, vlan=said["vlan"])
    return at(seconds), frame


def beat(seconds: int, start: int = 0, **changes: object) -> list[f.Stamped]:
    return [goose(start + n, 5, 1 + start + n, **changes) for n in range(seconds)]


def b_block(seconds: int) -> list[f.Stamped]:
    return beat(seconds, **BLOCK_B, entries=ENTRIES_B)


def h_block(seconds: int, **changes: object) -> list[f.Stamped]:
    return beat(seconds, **(BLOCK_H | {"entries": ENTRIES_H} | changes))


def sv(seconds: int, start: float = 0.0, rate: int = 4000, **changes: object) -> list[f.Stamped]:
    said = {"ident": "MU01", "revision": 1, "appid": 0x4000, "group": SV_GROUP, "source": IED_A} | changes
    made = []
    for n in range(seconds * rate):
        asdu = bus.sv_asdu(n % rate, bytes(64), sv_id=said["ident"], revision=said["revision"])
        frame = bus.sv_frame(
            bus.sv_pdu([asdu]), dst=said["group"], src=said["source"], appid=said["appid"], vlan=5
        )
        made.append((round((T0 + start) * 1e9 + n * 1e9 / rate) // 1000 * 1000, frame))
    return made


def station(text: str = SCD, complete: bool = True) -> Baseline:
    made = baseline_of(station_of(parse(text.encode(), "s.scd"), "s.scd"), complete, "0")
    return Baseline.from_bytes(made.to_bytes())


def run(path: Path, frames: list[f.Stamped], baseline: Baseline) -> list[Alert]:
    f.write_pcap(path, sorted(frames, key=lambda frame: frame[0]))
    decoded = open_engine([path], "native")
    return detect(decoded, decoded.names, baseline).alerts


def said(alerts: list[Alert], quiet: frozenset[str] = frozenset()) -> set[tuple[str, str]]:
    return {(alert.rule, alert.level) for alert in alerts if alert.rule not in quiet}


UNHEARD = frozenset({"scl-silent"})
"""Of short captures in which not everybody is played."""

DEVIATIONS = {
    "destination": ({"group": "01:0c:cd:01:00:77"}, "scl-address", "destination 01:0c:cd:01:00:77"),
    "APPID": ({"appid": 0x3999}, "scl-address", "APPID 0x3999, engineered is 0x3001"),
    "VLAN": ({"vlan": 11}, "scl-address", "VLAN 11, engineered is 10"),
    "confRev": ({"revision": 4}, "scl-configuration", "confRev 4, engineered is 3"),
    "datSet": ({"data": "BAY_AL/LLN0$x"}, "scl-configuration", "datSet BAY_AL/LLN0$x, engineered is BAY_AL"),
    "goID": ({"ident": "trap"}, "scl-configuration", "goID trap, engineered is trip"),
    "entries": ({"entries": [f.g_bool(True)]}, "scl-configuration", "data set entries 1, engineered is 2"),
    "types": (
        {"entries": [f.g_struct([f.g_dbpos(2), f.g_bool(True), f.g_time(0)]), f.g_float(1)]},
        "scl-data",
        "value 1 (BAY_AL/LLN0.Pos.q [ST]) is BOOLEAN, engineered is Quality (bit string)",
    ),
    "leaves": (
        {"entries": [f.g_struct([f.g_dbpos(2), f.g_quality()]), f.g_float(1)]},
        "scl-data",
        "number of values is 3, engineered is 4",
    ),
    "unknown block": (
        {"ref": "BAY_AL/LLN0$GO$new"},
        "scl-unknown-publisher",
        "publishes GOOSE BAY_AL/LLN0$GO$new, which is not in s.scd: IED BAY_A has no such control block",
    ),
    "unknown publisher": (
        {"ref": "X/LLN0$GO$g", "source": OTHER},
        "scl-unknown-publisher",
        f"{OTHER} publishes",
    ),
}


@pytest.mark.parametrize("case", DEVIATIONS)
def test_a_deviation_is_told_in_the_stations_names(tmp_path: Path, case: str) -> None:
    changes, rule, words = DEVIATIONS[case]
    frames = [*beat(8), *b_block(8), *h_block(8)]
    found = run(tmp_path / "x.pcap", [*frames, *beat(3, 5, **changes)], station())
    told = [alert for alert in found if alert.detector == "engineered"]
    assert said(told) == {(rule, "warning")}
    assert words in told[0].summary
    assert told[0].frames


def test_what_matches_is_quiet(tmp_path: Path) -> None:
    frames = [
        *beat(30),
        *b_block(30),
        *h_block(30),
        goose(30, 6, 0, changed=30),
        goose(30.1, 6, 1, changed=30),
        *sv(3),
    ]
    found = run(tmp_path / "x.pcap", frames, station())
    assert {(alert.rule, alert.point) for alert in found} == {("scl-silent", "")}
    assert "MU01" in found[0].summary  # played for three seconds only
    untagged = [*beat(8, vlan=None), *b_block(8)]
    assert run(tmp_path / "y.pcap", untagged, station()) == []  # a mirror port that takes tags off


def test_a_source_of_another_ied_is_an_alarm(tmp_path: Path) -> None:
    frames = [*beat(8), *b_block(4), *h_block(4)]
    wrong = [goose(n, 5, n, **(BLOCK_H | {"source": IED_B, "entries": ENTRIES_H})) for n in range(3, 8)]
    silent_h = [frame for frame in frames if b"GO$h" not in frame[1]]
    found = run(tmp_path / "x.pcap", silent_h + wrong, station())
    told = [alert for alert in found if alert.detector == "engineered"]
    assert said(told) == {("scl-publisher", "alarm")}
    assert f"{IED_B} (BAY_B) publishes GOOSE BAY_AL/LLN0$GO$h of BAY_A" in told[0].summary
    other = [goose(n, 5, n, **(BLOCK_H | {"source": OTHER, "entries": ENTRIES_H})) for n in range(3, 8)]
    found = run(tmp_path / "y.pcap", silent_h + other, station())
    assert ("scl-publisher", "warning") in said(found)
    # the source may stand in the description
    stated = SCD.replace("10.0.0.10</P>", f'10.0.0.10</P><P type="MAC-Address">{IED_A}</P>')
    found = run(tmp_path / "z.pcap", beat(5, source=OTHER), station(stated))
    assert said(found) == {("scl-publisher", "warning")}


def test_a_publisher_that_never_came_is_told_with_its_subscribers(tmp_path: Path) -> None:
    scd = SCD.replace('desc="trip of bay A"/>', 'desc="trip of bay A"><IEDName>BAY_B</IEDName></GSEControl>')
    found = run(tmp_path / "x.pcap", [*b_block(40), *h_block(40)], station(scd))
    silent = [alert for alert in found if "GO$g" in alert.summary]
    assert said(found) == {("scl-silent", "warning")}
    assert "trip of bay A was not heard for" in silent[0].summary
    assert "BAY_B wait for it" in silent[0].summary
    assert silent[0].start < T0 + 13


def test_a_promise_that_is_far_too_long_does_not_hide_silence(tmp_path: Path) -> None:
    frames = [*beat(4, lifetime=3_600_000), *b_block(40), *h_block(40)]
    found = [a for a in run(tmp_path / "x.pcap", frames, station()) if "BAY_AL/LLN0$GO$g" in a.summary]
    assert said(found) == {("scl-silent", "warning")}
    assert "is silent for" in found[0].summary


def test_a_network_of_which_nothing_is_heard_is_a_matter_of_visibility(tmp_path: Path) -> None:
    talk = f.Talk("10.0.0.1", "10.0.0.2", 502)
    talk.open(at(0))
    for second in range(1, 100):
        talk.client(at(second), f.modbus_adu(second, 1, f.mb_read(3, 0, 1)))
        talk.server(at(second + 0.01), f.modbus_adu(second, 1, f.mb_read_response(3, [1])))
    found = run(tmp_path / "x.pcap", talk.frames, station())
    assert said(found) == {("scl-unseen", "notice")}
    assert found[0].reading == "visibility"


def test_sampled_values(tmp_path: Path) -> None:
    assert run(tmp_path / "a.pcap", sv(3), station()) == []
    found = run(tmp_path / "b.pcap", sv(3, revision=2), station())
    assert said(found) == {("scl-configuration", "warning")}
    found = run(tmp_path / "c.pcap", sv(3, rate=3200), station())
    assert "rate about 3200 samples/s, engineered is 80 samples per period" in found[0].summary
    found = run(tmp_path / "d.pcap", sv(2, ident="MU99", source=OTHER), station())
    assert ("scl-unknown-publisher", "warning") in said(found)


def mms(client: str, item: str | None = None) -> list[f.Stamped]:
    talk = f.Talk(client, "10.0.0.10", 102)
    talk.open(at(0))
    talk.client(at(0.1), iso.mms(iso.confirmed(0xA0, 1, iso.service(2, b"", primitive=True))))
    if item:
        body = iso.variable_list(iso.item("BAY_AL", item)) + f.ber(0xA0, f.ber(0x83, b"\1"))
        talk.client(at(0.2), iso.mms(iso.confirmed(0xA0, 2, iso.service(5, body))))
    return talk.frames


@pytest.mark.parametrize(
    ("client", "item", "expected"),
    [
        ("10.0.0.20", "LLN0$CO$Pos$Oper", set()),
        ("10.0.0.66", None, {("scl-client", "warning")}),
        ("10.0.0.11", None, {("scl-client", "notice")}),
        ("10.0.0.66", "LLN0$CO$Pos$Oper", {("scl-client", "alarm")}),
    ],
)
def test_mms_clients(tmp_path: Path, client: str, item: str | None, expected: set[tuple[str, str]]) -> None:
    found = run(tmp_path / "x.pcap", mms(client, item), station())
    assert said(found) == expected
    if item and expected:
        assert "10.0.0.66 (a host that is not described) talks MMS to BAY_A" in found[0].summary
        assert "BAY_AL/LLN0$CO$Pos$Oper" in found[0].observed


def test_a_description_of_single_ieds_speaks_of_them_only(tmp_path: Path) -> None:
    foreign = beat(8, ref="X/LLN0$GO$g", source=OTHER)
    assert run(tmp_path / "a.pcap", [*beat(8), *foreign], station(complete=False)) == []
    own = beat(8, ref="BAY_AL/LLN0$GO$new")
    assert said(run(tmp_path / "b.pcap", [*beat(8), *own], station(complete=False))) == {
        ("scl-unknown-publisher", "warning")
    }


def learned(path: Path, frames: list[f.Stamped]) -> Baseline:
    f.write_pcap(path, sorted(frames))
    decoded = open_engine([path], "native")
    return learn(decoded, decoded.names)


def test_together_with_learning_the_description_is_right(tmp_path: Path) -> None:
    """Learned while BAY_A ran an old revision; BAY_B was off."""
    known = learned(tmp_path / "l.pcap", beat(60, revision=2))
    both = import_into(known, station())
    assert both.learned
    old = run(tmp_path / "a.pcap", beat(8, revision=2), both)
    assert said(old, UNHEARD) == {("scl-configuration", "warning")}
    new = run(tmp_path / "b.pcap", [*beat(8), *b_block(8)], both)
    assert said(new) == set()  # neither goose-configuration nor new-host
    moved = run(tmp_path / "c.pcap", beat(8, source=OTHER), both)
    assert ("goose-second-publisher", "alarm") in said(moved)
    stranger = run(tmp_path / "d.pcap", [*beat(8), *beat(8, ref="X/LLN0$GO$g", source=OTHER)], both)
    assert said(stranger) == {("scl-unknown-publisher", "warning")}


def test_import_again_replaces_what_was_engineered() -> None:
    old = station()
    changed = station(
        SCD.replace('confRev="3"', 'confRev="8"').replace('<GSEControl name="h"', '<GSEControl name="i"')
    )
    new = import_into(old, changed)
    blocks = new.tables["control_blocks"].set_index("ref")
    assert blocks.loc["BAY_AL/LLN0$GO$g", "conf_rev"] == 8
    assert "BAY_AL/LLN0$GO$h" not in blocks.index
    changes = {
        (c.table, c.change, c.entry["ref"], c.note) for c in diff(old, new) if c.table == "control_blocks"
    }
    assert ("control_blocks", "changed", "BAY_AL/LLN0$GO$g", "conf_rev 3 to 8") in changes
    assert ("control_blocks", "removed", "BAY_AL/LLN0$GO$h", "") in changes
    assert len(new.params["scl"]) == 1
    assert merge(new, new).to_bytes() == Baseline.from_bytes(new.to_bytes()).to_bytes()


def test_entries_have_names_in_alerts(tmp_path: Path) -> None:
    """A measured value that runs away is told by the name of its data attribute."""
    entries = [[values()[0], f.g_float(50 + 0.01 * (n % 7))] for n in range(400)]
    normal = [goose(n * 0.5, 5 + n, 0, entries=e) for n, e in enumerate(entries)]
    both = import_into(learned(tmp_path / "l.pcap", normal), station())
    wild = [
        *normal[:300],
        *(goose(150 + n, 305 + n, 0, entries=[values()[0], f.g_float(9e5)]) for n in range(5)),
    ]
    found = [a for a in run(tmp_path / "x.pcap", wild, both) if a.detector == "values"]
    assert found
    assert found[0].point == "BAY_AL/LLN0$GO$g [3] = BAY_AL/LLN0.Hz.mag.f [MX]"
    assert "BAY_AL/LLN0.Hz.mag.f [MX]" in found[0].summary


DEMO = Path(__file__).resolve().parents[2] / "sensor" / "data" / "demo"


def cli(*args: object) -> str:
    done = CliRunner().invoke(main, [str(arg) for arg in args])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_bundled_captures_with_the_description_alone(tmp_path: Path) -> None:
    made = tmp_path / "s.baseline"
    record = json.loads(cli("scl", "import", DEMO / "station.scd", "-o", made, "--json"))
    assert record["rows"]["control_blocks"] == 3
    shown = json.loads(cli("scl", "show", DEMO / "station.scd", "--json"))
    assert {block["ied"] for block in shown["control_blocks"]} == {"TR1PROT", "FD1PROT", "BCU1CTRL"}
    assert "engineered by station.scd; nothing was learned" in cli("baseline", "show", made)
    quiet = cli("detect", DEMO / "quiet_test.pcap.gz", "-b", made, "--engine", "native", "--json")
    told = [json.loads(line) for line in quiet.splitlines()]
    # nothing about what the description speaks of; rules of other protocols know no habits without learning
    assert not [alert for alert in told if alert["protocol"] in ("goose", "sv", "mms")]
    assert not [alert for alert in told if alert["detector"] in ("engineered", "allowlist")]
    lines = cli("detect", DEMO / "bad_day.pcap.gz", "-b", made, "--engine", "native", "--json").splitlines()
    found = [json.loads(line) for line in lines]
    second = [alert for alert in found if alert["rule"] == "goose-second-publisher"]
    assert any("TR1PROTLD0/LLN0$GO$gcbTrip, whose publisher is" in a["summary"] for a in second)
    assert any("(TR1PROT)" in a["summary"] for a in second)
    assert not [alert for alert in found if alert["detector"] == "engineered"]


@pytest.mark.parametrize(
    ("data", "code", "told"),
    [
        (b"<SCL>\n<IED", 3, "x.scd:2: no well-formed XML"),
        (b"<SCL/>", 3, "describes no IED"),
        (b"<!DOCTYPE SCL []>\n<SCL/>", 3, "x.scd:2: it has a document type declaration"),
    ],
)
def test_a_bad_file_ends_with_one_sentence(tmp_path: Path, data: bytes, code: int, told: str) -> None:
    (tmp_path / "x.scd").write_bytes(data)
    done = CliRunner().invoke(main, ["scl", "import", str(tmp_path / "x.scd"), "-o", str(tmp_path / "o")])
    assert done.exit_code == code
    assert told in done.stderr
    assert not (tmp_path / "o").exists()

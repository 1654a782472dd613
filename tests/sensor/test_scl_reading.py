"""Reading SCL: every edition, names on the wire, what a data set looks like, and what is refused."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensor.errors import SclError
from sensor.scl import document, types
from sensor.scl.devices import read_station, station_of
from sensor.scl.station import Station
from sensor.scl.tables import baseline_of
from tests.lab.scd import station_scd

DEMO = Path(__file__).resolve().parents[2] / "sensor" / "data" / "demo" / "station.scd"
ED1 = 'xmlns="http://www.iec.ch/61850/2003/SCL"'

BODY = """
<Communication><SubNetwork name="Bus" type="8-MMS">
 <ConnectedAP iedName="A" apName="P1"><Address><P type="IP">10.0.0.1</P></Address>
  <GSE ldInst="L" cbName="g"><Address><P type="MAC-Address">01-0C-CD-01-00-0A</P>
   <P type="APPID">00fF</P><P type="VLAN-ID">00a</P><P type="VLAN-PRIORITY">4</P></Address>
   <MinTime unit="s" multiplier="m">2</MinTime><MaxTime unit="s" multiplier="m">1000</MaxTime></GSE>
  <SMV ldInst="L" cbName="s"><Address><P type="MAC-Address">01-0C-CD-04-00-01</P>
   <P type="APPID">4000</P><P type="VLAN-ID">005</P></Address></SMV></ConnectedAP>
 <ConnectedAP iedName="C" apName="P1"><Address><P type="IP">10.0.0.9</P></Address></ConnectedAP>
</SubNetwork></Communication>
<IED name="A" manufacturer="M" type="T" desc="first"><AccessPoint name="P1"><Server>
 <LDevice inst="L"{ldname}><LN0 lnClass="LLN0" inst="" lnType="N">
  <DataSet name="d">{fcda}</DataSet>
  <ReportControl name="r" datSet="d" confRev="1"><RptEnabled max="1"><ClientLN iedName="C" apRef="P1"
   ldInst="x" lnClass="IHMI" lnInst="1"/></RptEnabled></ReportControl>
  <GSEControl name="g" datSet="d" appID="id" confRev="7"><IEDName>B</IEDName></GSEControl>
  <SampledValueControl name="s" datSet="d" smvID="MU1" smpRate="80" nofASDU="1" confRev="3"/>
 </LN0><LN prefix="Q" lnClass="MMXU" inst="1" lnType="M"/></LDevice></Server></AccessPoint></IED>
<IED name="C"><AccessPoint name="P1"><LN lnClass="IHMI" inst="1" lnType="N"/></AccessPoint></IED>
<DataTypeTemplates>
 <LNodeType id="N" lnClass="LLN0"><DO name="Mod" type="ENC"/></LNodeType>
 <LNodeType id="M" lnClass="MMXU"><DO name="A" type="WYE"/><DO name="Hz" type="MV"/>
  <DO name="HA" type="HWYE"/></LNodeType>
 <DOType id="ENC"><DA name="stVal" fc="ST" bType="Enum" type="e"/><DA name="q" fc="ST" bType="Quality"/>
  <DA name="t" fc="ST" bType="Timestamp"/><DA name="ctlModel" fc="CF" bType="Enum" type="e"/></DOType>
 <DOType id="WYE"><SDO name="phsA" type="CMV"/><SDO name="phsB" type="CMV"/></DOType>
 <DOType id="CMV"><DA name="cVal" fc="MX" bType="Struct" type="V"/>
  <DA name="q" fc="MX" bType="Quality"/></DOType>
 <DOType id="MV"><DA name="mag" fc="MX" bType="Struct" type="F"/>
  <DA name="q" fc="MX" bType="Quality"/></DOType>
 <DOType id="HWYE"><DA name="har" fc="MX" bType="Struct" type="F" count="3"/></DOType>
 <DAType id="V"><BDA name="mag" bType="Struct" type="F"/><BDA name="ang" bType="Struct" type="F"/></DAType>
 <DAType id="F"><BDA name="f" bType="FLOAT32"/></DAType>
</DataTypeTemplates>
"""

HZ = '<FCDA ldInst="L" prefix="Q" lnClass="MMXU" lnInst="1" doName="Hz" daName="mag.f" fc="MX"/>'


def member(data: str, attribute: str = "", constraint: str = "MX", more: str = "") -> str:
    node = 'lnClass="LLN0"' if data == "Mod" else 'prefix="Q" lnClass="MMXU" lnInst="1"'
    named = f' daName="{attribute}"' if attribute else ""
    return f'<FCDA ldInst="L" {node} doName="{data}"{named} fc="{constraint}"{more}/>'


def scl(fcda: str = HZ, root: str = ED1, ldname: str = "", body: str = BODY) -> bytes:
    made = body.replace("{fcda}", fcda).replace("{ldname}", ldname)
    return f'<SCL {root}><Header id="x" version="2" revision="b"/>{made}</SCL>'.encode()


def station(data: bytes) -> Station:
    return station_of(document.parse(data, "t.scd"), "t.scd")


@pytest.mark.parametrize(
    ("root", "told"),
    [
        ("", "1"),
        (ED1, "1"),
        (f'{ED1} version="2007" revision="A"', "2"),
        (f'{ED1} version="2007" revision="B" release="1"', "2"),
        (f'{ED1} version="2007" revision="B" release="4"', "2.1"),
        (f'{ED1} xmlns:v="urn:vendor" version="2024" revision="A" release="1" v:x="1"', "2024A1"),
    ],
)
def test_every_edition_says_the_same(root: str, told: str) -> None:
    made = station(scl(root=root))
    assert (made.edition, made.ident, made.revision, made.remarks) == (told, "x", "2 b", [])
    goose, sv = made.streams
    where = goose.address
    assert (goose.ref, goose.dataset, goose.ident, goose.conf_rev) == ("AL/LLN0$GO$g", "AL/LLN0$d", "id", 7)
    assert (where.mac, where.appid, where.vlan, where.priority) == ("01:0c:cd:01:00:0a", 0xFF, 10, 4)
    assert (where.min_ms, where.max_ms, where.subnetwork) == (2.0, 1000.0, "Bus")
    assert (sv.ref, sv.block, sv.rate, sv.rate_mode, sv.asdus) == (
        "MU1",
        "AL/LLN0$MS$s",
        80,
        "SmpPerPeriod",
        1,
    )
    assert goose.subscribers == ["B"]
    assert [(d.ied, d.ip, d.server, d.manufacturer) for d in made.devices] == [
        ("A", "10.0.0.1", True, "M"),
        ("C", "10.0.0.9", False, ""),
    ]
    tables = baseline_of(made, True, "0").tables
    assert tables["associations"][["client", "server"]].values.tolist() == [["10.0.0.9", "10.0.0.1"]]
    assert set(tables["control_blocks"]["origin"]) == {"engineered"}


def test_a_logical_device_may_have_a_name_of_its_own() -> None:
    goose = station(scl(ldname=' ldName="BAY7"')).streams[0]
    assert (goose.ref, goose.members[0].name) == ("BAY7/LLN0$GO$g", "BAY7/QMMXU1.Hz.mag.f [MX]")


@pytest.mark.parametrize(
    ("fcda", "leaves"),
    [
        (member("Hz", "mag.f"), [""]),
        (member("Hz", "mag"), [".f"]),
        (member("Hz"), [".mag.f", ".q"]),
        (member("Mod", constraint="ST"), [".stVal", ".q", ".t"]),
        (member("A.phsB"), [".cVal.mag.f", ".cVal.ang.f", ".q"]),
        (
            member("A"),
            [f".{p}{x}" for p in ("phsA", "phsB") for x in (".cVal.mag.f", ".cVal.ang.f", ".q")],
        ),
        (member("HA", "har"), ["(0).f", "(1).f", "(2).f"]),
        (member("HA", "har", more=' ix="1"'), [".f"]),
    ],
)
def test_a_structured_member_is_sent_as_its_leaves(fcda: str, leaves: list[str]) -> None:
    made = station(scl(fcda + HZ))
    assert [leaf.path for leaf in made.streams[0].members[0].leaves] == leaves
    block = baseline_of(made, True, "0").tables["control_blocks"].iloc[0]
    assert (block["entries"], block["values"]) == (2, len(leaves) + 1)
    assert made.remarks == []


@pytest.mark.parametrize(
    "fcda",
    [
        member("Nope", "x"),
        member("Hz", "nope"),
        member("Hz", constraint="ST"),
        member("Hz", "mag.f", "CF"),
        '<FCDA ldInst="Z" lnClass="GGIO" lnInst="9" doName="Ind" fc="ST"/>',
        "<FCDA/>",
    ],
)
def test_a_member_of_unknown_form_is_told_and_names_end_before_it(fcda: str) -> None:
    made = station(scl(HZ + fcda + HZ))
    assert [member.known for member in made.streams[0].members] == [True, False, True]
    assert "t.scd:" in made.remarks[0]
    assert "form not known" in made.remarks[0]
    tables = baseline_of(made, True, "0").tables
    block = tables["control_blocks"].iloc[0]
    assert (block["entries"], block["values"]) == (3, -1)
    assert tables["dataset_entries"]["entry"].tolist() == [0, 0]  # one of each stream


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("01-0C-CD-01-00-0A", "01-0C-CD", "MAC-Address"),
        ("00fF", "10000", "APPID"),
        ("00fF", "0xFF", "APPID"),
        ("00a", "FFFF", "VLAN-ID"),
        (">4<", ">9<", "VLAN-PRIORITY"),
        ("10.0.0.1", "10.0.0.1.1", "IP"),
        (">1000<", ">soon<", "MaxTime"),
    ],
)
def test_what_has_the_wrong_form_is_told_and_left_out(old: str, new: str, told: str) -> None:
    made = station(scl(body=BODY.replace(old, new, 1)))
    assert len(made.remarks) == 1
    assert told in made.remarks[0]
    assert len(made.streams) == 2


def test_what_needs_no_answer_is_not_expected() -> None:
    no_address = station(scl(body=BODY.replace('cbName="g"', 'cbName="other"')))
    assert [stream.protocol for stream in no_address.streams] == ["sv"]
    assert "has no address" in no_address.remarks[0]
    gsse = station(scl(body=BODY.replace("<GSEControl ", '<GSEControl type="GSSE" ')))
    assert [stream.protocol for stream in gsse.streams] == ["sv"]


def test_vendors_extensions_are_skipped() -> None:
    private = '<Private type="x"><IED name="evil"/></Private><v:IED xmlns:v="urn:v" name="evil"/>'
    made = station(scl(body=BODY + private))
    assert {device.ied for device in made.devices} == {"A", "C"}


BOMB = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))

REFUSED = {
    "entities": (f'<!DOCTYPE SCL [<!ENTITY l0 "ha">{BOMB}]><SCL><Header id="&l11;"/></SCL>', "document type"),
    "attribute": (f'<!DOCTYPE SCL [<!ENTITY l0 "ha">{BOMB}]><SCL id="&l11;"/>', "t.scd"),
    "file": (
        '<!DOCTYPE SCL [<!ENTITY x SYSTEM "file:///etc/passwd">]><SCL><Header id="x"/>&x;</SCL>',
        "document type",
    ),
    "dtd elsewhere": ('<!DOCTYPE SCL SYSTEM "http://127.0.0.1:9/x.dtd"><SCL/>', "document type"),
    "undefined entity": ("<SCL>\n&nope;</SCL>", "t.scd:2: no well-formed XML"),
    "depth": ("<SCL>" + "<a>" * 70 + "</a>" * 70 + "</SCL>", "nested deeper"),
    "abyss": ("<SCL>" + "<a>" * 5000, "nested deeper"),
    "not SCL": ("<html>\n</html>", "t.scd:1: the root element is 'html', not SCL"),
    "not XML": ("PK\x03\x04", "no well-formed XML"),
    "nothing": ("", "no well-formed XML"),
    "cut": ("<SCL>\n<IED name='a'>\n", "t.scd:3: no well-formed XML"),
    "unknown encoding": ('<?xml version="1.0" encoding="martian"?><SCL/>', "t.scd"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_file_and_line(case: str) -> None:
    text, told = REFUSED[case]
    with pytest.raises(SclError, match=r"t\.scd") as caught:
        station(text.encode())
    assert told in str(caught.value)
    assert "root:" not in str(caught.value)


def test_too_large_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "big.scd").write_bytes(scl())
    monkeypatch.setattr(document, "MAX_BYTES", 1000)
    with pytest.raises(SclError, match=r"big.scd: larger than"):
        read_station(tmp_path / "big.scd")
    monkeypatch.undo()
    monkeypatch.setattr(document, "MAX_ELEMENTS", 20)
    with pytest.raises(SclError, match="more than 20 elements"):
        read_station(tmp_path / "big.scd")
    with pytest.raises(SclError, match="cannot be read"):
        read_station(tmp_path / "none.scd")


def test_types_that_name_themselves_or_multiply_end(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = BODY.replace('<BDA name="f" bType="FLOAT32"/>', '<BDA name="f" bType="Struct" type="F"/>')
    made = station(scl(member("Hz"), body=loop))
    assert "nested deeper" in made.remarks[0]
    # arrays of arrays of nothing: no leaf ever comes out, but the work would never end
    endless = "".join(
        f'<DAType id="E{n}"><BDA name="b" bType="Struct" type="E{n + 1}" count="2000"/></DAType>'
        for n in range(9)
    )
    bomb = BODY.replace('<BDA name="f" bType="FLOAT32"/>', '<BDA name="f" bType="Struct" type="E0"/>')
    bomb = bomb.replace("</DataTypeTemplates>", endless + '<DAType id="E9"/></DataTypeTemplates>')
    made = station(scl(member("Hz"), body=bomb))
    assert "multiply" in made.remarks[0]
    many = BODY.replace('count="3"', 'count="2000"')
    monkeypatch.setattr(types, "MAX_LEAVES", 1000)
    made = station(scl(member("HA", "har"), body=many))
    assert "array of 2000" in made.remarks[0]


def test_the_bundled_description_is_that_of_the_lab() -> None:
    assert DEMO.read_text("utf-8") == station_scd()
    made = read_station(DEMO)
    assert made.remarks == []
    assert len(made.streams) == 3


def attempt(data: bytes) -> None:
    """Our error or a station, and a station always becomes tables; nothing else."""
    try:
        made = station(data)
    except SclError:
        return
    assert baseline_of(made, True, "0").to_bytes()


SEEDS = [scl(), scl(member("A") + member("Mod", constraint="ST")), station_scd().encode()]


@given(st.sampled_from(SEEDS), st.integers(0, 12_000))
def test_every_truncation_is_refused_or_read(seed: bytes, cut: int) -> None:
    attempt(seed[:cut])


@given(st.sampled_from(SEEDS), st.integers(0, 2**32), st.integers(1, 12))
def test_mutations_raise_our_error_only(seed: bytes, salt: int, changes: int) -> None:
    attempt(mutated(seed, random.Random(salt), changes))


WORDS = [
    b"", b'"', b"<", b">", b"&x;", b"&#0;", b"\xff\xfe", b"]]>", b"<!--", b"<![CDATA[", b"-1", b"9" * 20,
    b"\xe2\x80\xae", b"xmlns=", b"count='9' ", b"<FCDA/>", b"<LN0/>", b"<IED/>",
    b"<SDO name='a' type='MV'/>", b"\n" * 9, b"0x", b"::1", b"type=", b"</IED>", b"<P type='IP'>1</P>",
]  # fmt: skip


def mutated(seed: bytes, dice: random.Random, changes: int) -> bytes:
    """Bytes with words put in, pieces cut out, moved and swapped."""
    data = bytearray(seed)
    for _ in range(changes):
        at = dice.randrange(len(data))
        what = dice.randrange(4)
        if what == 0:
            data[at : at + dice.randrange(3)] = dice.choice(WORDS)
        elif what == 1:
            del data[at : at + dice.randrange(1, 60)]
        elif what == 2:
            piece = bytes(data[at : at + dice.randrange(1, 200)])
            data[(other := dice.randrange(len(data))) : other] = piece
        else:
            data[at] = dice.randrange(256)
        data = data or bytearray(b"<")
    return bytes(data)

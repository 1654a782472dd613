"""The lab: its frame builders against tshark, its plan, and the captures that it bundled."""

from __future__ import annotations

import csv
import itertools
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lab import finish
from tests.lab import frames as f
from tests.lab.scenario import SCENARIOS
from tests.lab.station import FACTOR, MACS, NODES, PUBLISHERS, Clock, Plant

DEMO = Path(__file__).resolve().parents[1] / "sensor" / "data" / "demo"
T0 = 1_773_133_200_123_456_789
BUDGET = 3_000_000


def fields(capture: Path, *names: str, only: str = "", options: tuple[str, ...] = ()) -> list[list[str]]:
    """Columns of tshark for the frames that match a display filter."""
    command = ["tshark", "-r", str(capture), "-T", "fields", *options]
    for name in names:
        command += ["-e", name]
    if only:
        command += ["-Y", only]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [line.split("\t") for line in done.stdout.splitlines()]


def save(tmp_path: Path, frames: list[f.Stamped]) -> Path:
    """Capture file of some frames."""
    path = tmp_path / "built.pcap"
    f.write_pcap(path, frames)
    return path


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


# --- Frame builders -----------------------------------------------------------------------


@pytest.mark.tshark
def test_tshark_reads_the_modbus_that_was_built(tmp_path: Path) -> None:
    exchanges = [
        (f.mb_read(3, 100, 2), f.mb_read_response(3, [7, 65535])),
        (f.mb_read(1, 0, 3), f.mb_bits_response(1, [1, 0, 1])),
        (f.mb_write_register(9, 1234), f.mb_write_register(9, 1234)),
        (f.mb_write_coil(4, True), f.mb_write_coil(4, True)),
        (f.mb_write_registers(20, [1, 2, 3]), f.mb_write_response(16, 20, 3)),
        (f.mb_write_coils(20, [1] * 9), f.mb_write_response(15, 20, 9)),
        (f.mb_read_write(1, 2, 3, [4]), f.mb_read_response(23, [5, 6])),
        (f.mb_device_id(), f.mb_device_id_response([(0, b"maker"), (1, b"code")])),
        (f.mb_read(4, 0, 1), f.mb_exception(4, 6)),
    ]
    talk = f.Talk("10.0.0.1", "10.0.0.2", 502)
    talk.open(T0)
    for tid, (request, response) in enumerate(exchanges, start=1):
        talk.client(T0 + tid * 10_000_000, f.modbus_adu(tid, 17, request))
        talk.server(T0 + tid * 10_000_000 + 1_000_000, f.modbus_adu(tid, 17, response))
    talk.close(T0 + 1_000_000_000)
    capture = save(tmp_path, talk.frames)
    rows = fields(capture, "mbtcp.trans_id", "mbtcp.unit_id", "modbus.func_code", only="modbus")
    expected = [[str(i + 1), "17", str(p[0] & 0x7F)] for i, pair in enumerate(exchanges) for p in pair]
    assert rows == expected
    assert fields(capture, "modbus.regval_uint16", only="modbus.func_code==3 && modbus.response_time") == [
        ["7,65535"]
    ]
    assert fields(capture, "modbus.exception_code", only="modbus.exception_code") == [["6"]]
    assert fields(capture, "modbus.object_str_value", only="modbus.object_str_value") == [["maker,code"]]
    assert not fields(capture, "frame.number", only="_ws.malformed || tcp.analysis.flags")


@pytest.mark.tshark
@pytest.mark.parametrize(("client", "server"), [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")])
def test_tshark_reads_the_iec104_that_was_built(tmp_path: Path, client: str, server: str) -> None:
    talk = f.Talk(client, server, 2404, vlans=(f.Vlan(5, 3),), isn=(0xFFFFFFFA, 9))  # wraps around at once
    talk.open(T0)
    talk.client(T0 + 1_000_000, f.apci_u(f.STARTDT_ACT))
    talk.server(T0 + 2_000_000, f.apci_u(f.STARTDT_CON))
    objects = [(4005, f.e_float(1.5) + f.cp56(T0)), (4006, f.e_float(-2.5, 0x80) + f.cp56(T0))]
    talk.server(T0 + 3_000_000, f.apci_i(0, 0, f.asdu(36, 3, 258, objects)))
    talk.server(
        T0 + 4_000_000, f.apci_i(1, 0, f.asdu(3, 20, 258, [(1, f.e_double(2)), (2, f.e_double(1))], sq=True))
    )
    talk.client(T0 + 5_000_000, f.apci_s(2))
    command = [(70000, f.e_double_command(2, select=True))]
    talk.client(T0 + 6_000_000, f.apci_i(0, 2, f.asdu(46, 6, 258, command, oa=9)))
    talk.server(T0 + 7_000_000, f.apci_i(2, 1, f.asdu(46, 7, 258, command, oa=9, negative=True, test=True)))
    capture = save(tmp_path, talk.frames)
    names = [f"iec60870_asdu.{name}" for name in ("typeid", "causetx", "addr", "ioa", "oa", "nega", "test")]
    rows = fields(capture, "iec60870_104.tx", "iec60870_104.rx", *names, only="iec60870_asdu")
    assert rows == [
        ["0", "0", "36", "3", "258", "4005,4006", "0", "0", "0"],
        ["1", "0", "3", "20", "258", "1,2", "0", "0", "0"],
        ["0", "2", "46", "6", "258", "70000", "9", "0", "0"],
        ["2", "1", "46", "7", "258", "70000", "9", "1", "1"],
    ]
    assert fields(capture, "iec60870_asdu.float", only="iec60870_asdu.float") == [["1.5,-2.5"]]
    assert fields(capture, "iec60870_asdu.dco.se", only="iec60870_asdu.oa==9")[0] == ["1"]
    bad = "_ws.malformed || tcp.analysis.flags || tcp.checksum.status==0 || iec104.apdu_invalid_len"
    assert not fields(capture, "frame.number", only=bad, options=("-o", "tcp.check_checksum:TRUE"))


@pytest.mark.tshark
def test_tshark_reads_the_goose_that_was_built(tmp_path: Path) -> None:
    entries = [
        f.g_bool(True), f.g_dbpos(2), f.g_quality(test=True), f.g_int(-200), f.g_uint(40000), f.g_float(1.5),
        f.g_time(T0), f.g_text("hi"), f.g_struct([f.g_int(7), f.g_octets(b"ab")]), f.g_bits("1" * 20),
    ]  # fmt: skip
    pdu = f.goose_pdu(
        "A/LLN0$GO$g", 2000, "A/LLN0$ds", "id", T0, 300, 70000, entries, conf_rev=3, simulation=True
    )
    frame = f.goose_frame("01:0c:cd:01:00:01", "02:00:00:00:00:01", 0x3001, pdu, vlan=10, simulation=True)
    capture = save(tmp_path, [(T0, frame)])
    names = [
        "stNum",
        "sqNum",
        "gocbRef",
        "datSet",
        "goID",
        "timeAllowedtoLive",
        "confRev",
        "numDatSetEntries",
    ]
    assert fields(capture, *(f"goose.{name}" for name in names)) == [
        ["300", "70000", "A/LLN0$GO$g", "A/LLN0$ds", "id", "2000", "3", "10"]
    ]
    values = ["boolean", "bit_string", "integer", "unsigned", "float_value", "visible_string", "octet_string"]
    row = fields(
        capture, *(f"goose.{name}" for name in values), "vlan.id", "vlan.priority", "goose.reserve1.s_bit"
    )[0]
    assert row[2:] == ["-200,7", "40000", "1.5", "hi", "6162", "10", "4", "1"]
    assert row[1].replace(":", "") == "80,0010,fffff0"
    assert not fields(capture, "frame.number", only="_ws.malformed || goose.invalid_sim")


@given(st.integers(-(2**63), 2**63 - 1))
def test_ber_integers_are_shortest_and_read_back(value: int) -> None:
    tag, size, body = (element := f.g_int(value))[0], element[1], element[2:]
    assert (tag, size, int.from_bytes(body, "big", signed=True)) == (0x85, len(body), value)
    assert len(body) == 1 or int.from_bytes(body[1:], "big", signed=True) != value


@given(st.binary(max_size=70000))
def test_ber_lengths_read_back(content: bytes) -> None:
    element = f.ber(0x61, content)
    octets = element[1] & 0x7F if element[1] & 0x80 else 0
    size = int.from_bytes(element[2 : 2 + octets], "big") if octets else element[1]
    assert (size, element[2 + octets :]) == (len(content), content)


@pytest.mark.tshark
@pytest.mark.parametrize("nanos", [True, False])
@pytest.mark.parametrize("little", [True, False])
def test_capture_files_of_every_kind_read_back(tmp_path: Path, nanos: bool, little: bool) -> None:
    frame = f.udp_frame("10.0.0.1", "10.0.0.2", 1, 9, b"abc")
    classic, newer = tmp_path / "a.pcap.gz", tmp_path / "a.pcapng"
    f.write_pcap(classic, [(T0, frame)], nanos, little)
    f.write_pcapng(newer, [(T0, frame, 1)], little, linktypes=(1, 1), tsresol=9 if nanos else 6)
    fraction = "123456789" if nanos else "123456"
    for path in (classic, newer):
        stamp, size = fields(path, "frame.time_epoch", "frame.len")[0]
        assert stamp.rstrip("0") == f"1773133200.{fraction}"
        assert size == str(len(frame))


# --- Plan and finish ----------------------------------------------------------------------


def test_stretching_keeps_ratios_and_cuts_to_the_scenario() -> None:
    scenario = SCENARIOS["quiet_test"]
    clock = Clock(1_000_000_000, scenario.base_ns)
    walls = [999_999_999, 1_000_000_000, 1_250_000_000, 1_000_000_000 + int(scenario.duration * 1e8)]
    out = finish.stretch([(wall, b"\0" * 60) for wall in walls], scenario, clock)
    assert [ts - scenario.base_ns for ts, _ in out] == [0, 250_000_000 * FACTOR]


def test_repair_fills_checksums_and_station_time() -> None:
    scenario = SCENARIOS["quiet_hour"]
    clock = Clock(0, scenario.base_ns - 10**18)
    talk = f.Talk("10.0.0.1", "10.0.0.2", 2404)
    talk.client(0, f.apci_i(0, 0, f.asdu(103, 6, 1, [(0, f.cp56(T0 + 400 * 86_400 * 10**9))])))
    broken = bytearray(talk.frames[0][1])
    broken[50:52] = b"\xff\xff"
    station = scenario.base_ns + 870 * 10**9
    fixed = finish.repair(bytes(broken), station, clock)
    talk = f.Talk("10.0.0.1", "10.0.0.2", 2404)
    talk.client(0, f.apci_i(0, 0, f.asdu(103, 6, 1, [(0, f.cp56(station))])))
    assert fixed == talk.frames[0][1]


def test_the_plant_follows_its_switching_operations() -> None:
    plant = Plant([(10.0, "f1", 1), (20.0, "f1", 2)])
    assert [plant.state("f1", t) for t in (5, 10.1, 11, 20.1, 21)] == [2, 0, 1, 0, 2]
    assert plant.feeder_power(15, "f1") == 0.0
    assert 3 < plant.feeder_power(25, "f1") < 5
    assert 12 < plant.feeder_power(15, "f2") + plant.power(25) < 30


def test_every_legitimate_command_place_of_the_tests_is_in_the_training_hour() -> None:
    def places(name: str) -> set[tuple[str, str, str]]:
        return {(a.role, a.name, a.target) for a in SCENARIOS[name].actions if "intruder" not in a.role}

    assert places("quiet_test") <= places("quiet_hour")
    assert places("bad_day") <= places("quiet_hour")


# --- Bundled captures ---------------------------------------------------------------------


def test_bundle_is_complete_and_small() -> None:
    files = {path.name for path in DEMO.iterdir()}
    expected = {f"{name}{suffix}" for name in SCENARIOS for suffix in (".pcap.gz", ".labels.csv")}
    assert expected | {"README.md", "manifest.csv"} <= files
    assert sum(path.stat().st_size for path in DEMO.iterdir()) <= BUDGET


@pytest.mark.parametrize("name", SCENARIOS)
def test_labels_are_well_formed_and_inside_their_capture(name: str) -> None:
    scenario = SCENARIOS[name]
    rows = read_rows(DEMO / f"{name}.labels.csv")
    start, end = scenario.base_ns / 1e9, scenario.base_ns / 1e9 + scenario.duration
    for row in rows:
        assert tuple(row) == finish.LABEL_COLUMNS
        assert start < float(row["start"]) < float(row["end"]) < end
        assert row["label"] in {"attack", "benign-disturbance"}
        assert row["note"]
        if row["label"] == "attack":
            assert re.fullmatch(r"T\d{4}", row["technique"])
    assert all(float(a["end"]) + 30 < float(b["start"]) for a, b in itertools.pairwise(rows))


def test_bad_day_has_its_events() -> None:
    rows = read_rows(DEMO / "bad_day.labels.csv")
    count = [sum(row["label"] == label for row in rows) for label in ("attack", "benign-disturbance")]
    assert count == [13, 5]


def test_manifest_tells_what_the_captures_hold() -> None:
    rows = {row["file"]: row for row in read_rows(DEMO / "manifest.csv")}
    assert set(rows) == {f"{name}.pcap.gz" for name in SCENARIOS}
    for name, scenario in SCENARIOS.items():
        row = rows[f"{name}.pcap.gz"]
        frames = list(finish.read_pcap(DEMO / f"{name}.pcap.gz"))
        assert row["role"] == scenario.role
        assert int(row["packets"]) == len(frames)
        assert float(row["duration_s"]) == pytest.approx((frames[-1][0] - frames[0][0]) / 1e9, abs=0.001)
        assert scenario.duration - 10 < float(row["duration_s"]) < scenario.duration
        labels = read_rows(DEMO / f"{name}.labels.csv")
        assert int(row["attack_events"]) == sum(label["label"] == "attack" for label in labels)


@pytest.mark.parametrize("name", ["quiet_hour", "quiet_test"])
def test_quiet_captures_hold_nobody_but_the_station(name: str) -> None:
    intruder = f.mac(MACS["intruder"])
    frames = [frame for _, frame in finish.read_pcap(DEMO / f"{name}.pcap.gz")]
    assert not any(intruder in (frame[:6], frame[6:12]) for frame in frames)
    assert {frame[6:12] for frame in frames} == {f.mac(m) for n, m in MACS.items() if n != "intruder"}


def test_readme_names_every_file_and_address() -> None:
    text = (DEMO / "README.md").read_text()
    words = [f"{name}.pcap.gz" for name in SCENARIOS]
    words += [NODES[name] for name in ("cc", "scada", "gateway", "rtu1", "rtu2", "rtu3")]
    words += [NODES[name] for name in ("inverter", "tmon", "meter", "intruder")]
    words += [block.ref for block in PUBLISHERS.values()] + [block.group for block in PUBLISHERS.values()]
    assert [word for word in words if word not in text] == []


@pytest.mark.tshark
@pytest.mark.parametrize("name", SCENARIOS)
def test_captures_decode_cleanly(name: str) -> None:
    capture = DEMO / f"{name}.pcap.gz"
    bad = "_ws.malformed || tcp.checksum.status==0 || udp.checksum.status==0 || iec104.apdu_invalid_len"
    checks = ("-o", "tcp.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE")
    assert not fields(capture, "frame.number", only=bad, options=checks)
    kinds = {row[0] for row in fields(capture, "iec60870_104.utype", only="iec60870_104.utype")}
    assert {"0x00000001", "0x00000002", "0x00000010", "0x00000020"} <= kinds | {
        f"0x{int(k, 0):08x}" for k in kinds
    }
    opened = {(row[0], row[1]) for row in fields(capture, "ip.dst", "tcp.dstport", only="tcp.flags==2")}
    for node in ("rtu1", "rtu2", "rtu3"):
        assert (NODES[node], "2404") in opened
    for node in ("inverter", "tmon", "meter"):
        assert (NODES[node], "502") in opened


def test_registers_fit_sixteen_bits_whatever_the_plant_does() -> None:
    pymodbus = pytest.importorskip("pymodbus", reason="the lab extra is not installed")
    assert pymodbus
    from tests.lab import modbus

    for name, scenario in SCENARIOS.items():
        plant = Plant(scenario.operations)
        for t in range(0, int(scenario.duration), 7):
            registers = [
                *modbus.meter_registers(plant, t),
                *modbus.inverter_inputs(plant, t, 100),
                *modbus.tmon_inputs(plant, t, 18.0, False),
            ]
            assert all(0 <= value <= 0xFFFF for value in registers), (name, t)

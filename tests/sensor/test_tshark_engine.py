"""The tshark engine on captures made for its traps: several messages in a frame, segments, hostile text."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from grid_profiles.loader import load_registry
from grid_profiles.vocabulary import Flag, Role
from sensor.capture import tshark_process
from sensor.capture.tshark import TsharkEngine, TsharkError, find_tshark, tshark_version
from sensor.names import Names

pytestmark = pytest.mark.tshark

START = 1_700_000_000
NANOS = 123_456_789
CLIENT, SERVER = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))


def ethernet(payload: bytes, kind: int = 0x0800, tags: bytes = b"") -> bytes:
    return bytes.fromhex("02000000000b02000000000a") + tags + struct.pack(">H", kind) + payload


def ipv4(payload: bytes, proto: int = 6, src: bytes = CLIENT, dst: bytes = SERVER) -> bytes:
    return struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0, 64, proto, 0) + src + dst + payload


def tcp(payload: bytes, seq: int, sport: int = 40_000, dport: int = 502, bits: int = 0x18) -> bytes:
    return struct.pack(">HHIIBBHHH", sport, dport, seq, 1, 0x50, bits, 1000, 0, 0) + payload


def udp(payload: bytes, sport: int, dport: int) -> bytes:
    return struct.pack(">HHHH", sport, dport, 8 + len(payload), 0) + payload


def segment(payload: bytes, seq: int, **ports: int) -> bytes:
    return ethernet(ipv4(tcp(payload, seq, **ports)))


def write_registers(transaction: int, registers: int = 10) -> bytes:
    values = bytes(range(2 * registers))
    head = struct.pack(">HHHBBHHB", transaction, 0, 7 + len(values), 1, 16, 100, registers, len(values))
    return head + values


def publish(topic: bytes) -> bytes:
    body = struct.pack(">H", len(topic)) + topic + b"5"
    return bytes((0x30, len(body))) + body


def capture(path: Path, *frames: bytes) -> Path:
    """A nanosecond pcap, one frame per second."""
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262_144, 1))
        for second, frame in enumerate(frames):
            file.write(struct.pack("<IIII", START + second, NANOS, len(frame), len(frame)) + frame)
    return path


class Decoded:
    """All rows of a capture, the points numbering the messages of the whole."""

    def __init__(self, path: Path, *profiles: str, numbers: npt.NDArray[np.int64] | None = None) -> None:
        registry = load_registry()
        self.names = Names(registry)
        chosen = [registry.by_name(name) for name in profiles] if profiles else None
        self.engine = TsharkEngine(registry, self.names, chosen)
        parts = list(self.engine.decode(path, numbers))
        self.messages: npt.NDArray[Any] = np.concatenate([part[0] for part in parts])
        self.points: npt.NDArray[Any] = np.concatenate([part[1] for part in parts])


def test_there_is_a_tshark_and_it_tells_its_version() -> None:
    assert find_tshark() is not None
    version = tshark_version()
    assert version is not None
    assert version[0].isdigit()


def test_no_tshark_is_said_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tshark_process.shutil, "which", lambda *_, **__: None)
    registry = load_registry()
    with pytest.raises(TsharkError, match="sudo apt-get install tshark"):
        TsharkEngine(registry, Names(registry))
    assert tshark_version() is None


def test_messages_of_one_segment_are_rows_with_their_own_values(tmp_path: Path) -> None:
    path = capture(tmp_path / "c.pcap", segment(write_registers(1, 2) + write_registers(2, 3), 1))
    decoded = Decoded(path, "modbus")
    messages, points = decoded.messages, decoded.points
    assert messages["seq"].tolist() == [1, 2]
    assert messages["count"].tolist() == [2, 3]
    assert messages["size"].tolist() == [17, 19]
    assert points["message"].tolist() == [0, 0, 1, 1, 1]
    assert (points["point"] & 0xFFFF).tolist() == [100, 101, 100, 101, 102]
    assert points["value"].tolist() == [0x0001, 0x0203, 0x0001, 0x0203, 0x0405]


def test_times_are_exact_and_frames_are_renumbered(tmp_path: Path) -> None:
    path = capture(tmp_path / "c.pcap", segment(write_registers(1), 1), segment(write_registers(2), 34))
    decoded = Decoded(path, "modbus", numbers=np.array([17, 99]))
    assert decoded.messages["frame"].tolist() == [17, 99]
    assert decoded.messages["ts"].tolist() == [(START + i) * 1_000_000_000 + NANOS for i in (0, 1)]


def test_a_message_over_a_segment_border_comes_with_its_last_byte(tmp_path: Path) -> None:
    both = write_registers(1) + write_registers(2)
    frames = [segment(both[:15], 1), segment(both[15:45], 16), segment(both[45:], 46)]
    decoded = Decoded(capture(tmp_path / "c.pcap", *frames), "modbus")
    assert decoded.messages["frame"].tolist() == [2, 3]
    assert decoded.messages["seq"].tolist() == [1, 2]
    assert (decoded.messages["flags"] & Flag.REASSEMBLED != 0).all()


def test_a_repeated_command_is_seen_again(tmp_path: Path) -> None:
    one, two = segment(write_registers(1), 1), segment(write_registers(2), 34)
    decoded = Decoded(capture(tmp_path / "c.pcap", one, one, two, one), "modbus")
    assert decoded.messages["seq"].tolist() == [1, 1, 2, 1]


def test_roles_and_conversation_follow_the_server_port(tmp_path: Path) -> None:
    told = struct.pack(">HHHBBHH", 1, 0, 6, 1, 16, 100, 10)
    answer = ethernet(ipv4(tcp(told, 1, 502, 40_000), src=SERVER, dst=CLIENT))
    path = capture(tmp_path / "c.pcap", segment(write_registers(1), 1), answer)
    decoded = Decoded(path, "modbus")
    messages = decoded.messages
    assert messages["role"].tolist() == [Role.CLIENT, Role.SERVER]
    assert messages["conv"][0] == messages["conv"][1]
    talk = decoded.names.conversation(int(messages["conv"][0]))
    assert (talk.client, talk.server, talk.port, talk.sub) == ("10.0.0.1", "10.0.0.2", 502, "unit 1")
    assert messages["stream"].tolist() == [0, 0]


HOSTILE = [
    b"plain",
    b"a\tb",
    b"a\nb\r2",
    b"1\x1f2\x1e3",
    b"back\\slash",
    b"q\"q'q<&>",
    "grün ☃".encode(),
    b"\x1b[31m",
    b"</packet>\n<packet>",
    b"x\n99\t1.0\t\t",
]


def test_hostile_text_moves_no_column(tmp_path: Path) -> None:
    frames, seq = [], 1
    for topic in HOSTILE:
        frames.append(segment(publish(topic), seq, dport=1883))
        seq += len(publish(topic))
    frames.append(segment(b"".join(publish(topic) for topic in HOSTILE), seq, dport=1883))
    decoded = Decoded(capture(tmp_path / "c.pcap", *frames), "mqtt")
    messages = decoded.messages
    assert messages["frame"].tolist() == [*range(1, 11), *[11] * 10]
    assert (messages["kind"] == 3).all()
    texts = [decoded.names.text(int(ident)) for ident in messages["name"]]
    assert texts[:10] == texts[10:]  # columns and tree agree
    assert texts[0] == "plain"
    assert texts[1] == "a\\tb"
    assert texts[4] == "back\\slash"
    assert texts[5] == "q\"q'q<&>"
    assert texts[6] == "grün ☃"
    assert len(set(texts[:10])) == 10


def test_addresses_are_those_of_the_outermost_header(tmp_path: Path) -> None:
    inner = ipv4(tcp(write_registers(1), 1), src=bytes((192, 168, 0, 1)), dst=bytes((192, 168, 0, 2)))
    quoted = ipv4(udp(bytes.fromhex("000101000001000000000000016100000100 01"), 5000, 53), 17)
    error = ipv4(struct.pack(">BBHI", 3, 3, 0, 0) + quoted, 1, src=SERVER, dst=CLIENT)
    path = capture(tmp_path / "c.pcap", ethernet(ipv4(inner, proto=4)), ethernet(error))
    decoded = Decoded(path)
    assert {decoded.names.endpoint(int(src)) for src in decoded.messages["src"]} == {"10.0.0.1", "10.0.0.2"}
    quote = decoded.messages[decoded.messages["frame"] == 2]
    assert len(quote) > 0
    assert (quote["role"] == Role.PEER).all()


def test_goose_behind_two_tags_has_its_vlan_and_leaves(tmp_path: Path) -> None:
    def tlv(tag: int, value: bytes) -> bytes:
        return bytes((tag, len(value))) + value

    data = tlv(0xA2, tlv(0x83, b"\x01") + tlv(0x85, b"\xff\xfe")) + tlv(0x84, b"\x06\x80")
    when = struct.pack(">I", START) + b"\x80\x00\x00\x0a"
    pdu = tlv(
        0x61,
        tlv(0x80, b"IED1LD0/LLN0$GO$gcb1")
        + tlv(0x81, b"\x07\xd0")
        + tlv(0x82, b"IED1LD0/LLN0$ds")
        + tlv(0x83, b"id")
        + tlv(0x84, when)
        + tlv(0x85, b"\x05")
        + tlv(0x86, b"\x00")
        + tlv(0x87, b"\x01")
        + tlv(0x88, b"\x01")
        + tlv(0x89, b"\x00")
        + tlv(0x8A, b"\x02")
        + tlv(0xAB, data),
    )
    frame = struct.pack(">HHHH", 0x3001, 8 + len(pdu), 0, 0) + pdu
    tags = bytes.fromhex("88a8000581000007")
    decoded = Decoded(capture(tmp_path / "c.pcap", ethernet(frame, 0x88B8, tags)), "goose")
    [message] = decoded.messages
    talk = decoded.names.conversation(int(message["conv"]))
    assert (talk.client, talk.port, talk.vlan) == ("02:00:00:00:00:0a", 0x3001, 7)
    assert (message["state"], message["seq"], message["aux"]) == (5, 0, 2000)
    assert message["value"] == START + 0.5
    assert decoded.points["kind"].tolist() == [0x83, 0x85, 0x84]
    assert decoded.points["value"].tolist() == [1, -2, 2]
    assert (decoded.points["point"] & 0xFFFF).tolist() == [0, 1, 2]


def test_an_early_end_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    original = TsharkEngine._start

    def start(*args: Any) -> Any:
        started.append(original(*args))
        return started[-1]

    monkeypatch.setattr(TsharkEngine, "_start", start)
    monkeypatch.setattr("sensor.capture.tshark.CHUNK", 1)
    path = capture(tmp_path / "c.pcap", *[segment(write_registers(i, 1), 1 + 15 * i) for i in range(50)])
    registry = load_registry()
    rows = TsharkEngine(registry, Names(registry), [registry.by_name("modbus")]).decode(path)
    next(rows)
    rows.close()  # type: ignore[attr-defined]
    assert started
    assert all(process._process.returncode is not None for process in started)


def test_what_is_no_capture_is_said(tmp_path: Path) -> None:
    path = tmp_path / "c.pcap"
    path.write_bytes(b"this is no capture")
    with pytest.raises(TsharkError, match="failed"):
        Decoded(path, "modbus")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        Decoded(tmp_path / "none.pcap", "modbus")
    assert caught.value.filename == str(tmp_path / "none.pcap")


def test_a_profile_for_a_protocol_that_tshark_does_not_know_is_left_out(tmp_path: Path) -> None:
    text = """format = 1
name = "secret"
title = "Secret"
category = "industrial"
standard = "none"
about = "A protocol that no tshark knows."
[tshark]
filter = "secret_protocol"
pdu = ["secret_protocol"]
nodes = ["secret_protocol"]
[tshark.columns]
kind = [{ field = "secret_protocol.kind" }]
"""
    (tmp_path / "secret.toml").write_text(text)
    registry = load_registry([tmp_path / "secret.toml"])
    chosen = [registry.by_name("secret"), registry.by_name("modbus")]
    engine = TsharkEngine(registry, Names(registry), chosen)
    assert engine.notes == ["secret: this tshark has no secret_protocol"]
    path = capture(tmp_path / "c.pcap", segment(write_registers(1), 1))
    assert sum(len(messages) for messages, _ in engine.decode(path)) == 1


def test_a_filter_that_compares_is_asked_of_tshark(tmp_path: Path) -> None:
    text = """format = 1
name = "writes"
title = "Modbus writes"
category = "industrial"
standard = "none"
about = "Only some of the messages."
[tshark]
filter = "mbtcp.trans_id == 2"
pdu = ["modbus"]
nodes = ["mbtcp", "modbus"]
[tshark.columns]
kind = [{ field = "modbus.func_code" }]
seq = [{ field = "mbtcp.trans_id" }]
"""
    (tmp_path / "writes.toml").write_text(text)
    registry = load_registry([tmp_path / "writes.toml"])
    engine = TsharkEngine(registry, Names(registry), [registry.by_name("writes")])
    frames = [segment(write_registers(i, 1), 1 + 15 * i) for i in range(4)]
    [(messages, _)] = list(engine.decode(capture(tmp_path / "c.pcap", *frames)))
    assert messages["seq"].tolist() == [2]


@pytest.mark.corpus
@pytest.mark.parametrize(
    "name",
    [
        "iec104__iec104.pcap",
        "goose__goose-single.pcapng",
        "modbus__modbus_modbus.pcap",
        "dnp3__dnp3_full_exchange.pcap",
        "coap-mqtt__coap_mqtt.pcap",
        "enip__cip.pcapng",
    ],
)
def test_as_many_frames_per_protocol_as_tshark_counts(name: str, corpus: Path) -> None:
    import subprocess

    path = corpus / "protocols" / name
    decoded = Decoded(path)
    for ident in np.unique(decoded.messages["proto"]).tolist():
        profile = decoded.names.registry.by_id(ident)
        assert profile.tshark is not None
        command = ["tshark", "-n", "-r", str(path), "-Y", profile.tshark.filter, "-T", "fields"]
        command += ["-e", "frame.number", "-o", "tcp.analyze_sequence_numbers:FALSE"]
        done = subprocess.run(command, capture_output=True, check=True)
        ours = np.unique(decoded.messages["frame"][decoded.messages["proto"] == ident])
        assert ours.tolist() == sorted(map(int, done.stdout.split())), profile.name

"""Attacks on sampled values (IEC 61850-9-2, 9-2LE, IEC 61869-9)."""

from __future__ import annotations

import struct
from collections.abc import Callable

from sensor.simulate.attacks import pdus as p
from sensor.simulate.packets import with_macs
from sensor.simulate.registry import attack
from sensor.simulate.stage import MS, SECOND, NotOffered, Stage, ip_mac

NEEDS = "a stream of sampled values"
CURRENTS = 4
"""Channels of 9-2LE that are currents; the others are voltages."""

RECORDED = 40
"""Frames that a replay is made of at least: half a cycle of 80 samples."""


def _stream(stage: Stage) -> p.Publisher:
    return p.publisher(stage, p.SV)


def _label(stage: Stage, found: p.Publisher, source: bytes, note: str) -> None:
    stage.label(source, found.group, f"{note} ({found.name})")


def _in_flight(stage: Stage, note: str, change: Callable[[int, bytes, int], bytes]) -> None:
    """Elements of every ASDU changed on the way; ``change`` gets tag, contents, ns since the begin."""
    found = _stream(stage)
    for row in found.active:
        packet = stage.packet(row)
        pdu = p.pdu(packet)
        if pdu is not None:
            age = packet.ts - stage.begin
            made = p.with_asdus(pdu, lambda tag, body, age=age: change(tag, body, age))  # type: ignore[misc]
            stage.replace(row, made.frame(packet.ts))
    _label(stage, found, found.mac, note)


@attack(
    "sv-second-source", "rogue", "T0848", "A second source of the same stream at another address", NEEDS, 3
)
def second_source(stage: Stage) -> None:
    found = _stream(stage)
    source = ip_mac("10.66.66.68")
    for row in found.active:
        packet = stage.packet(row)
        pdu = p.pdu(packet)
        if pdu is not None:
            made = p.with_asdus(pdu, lambda t, b: p.samples(b, lambda _, v: v * 3) if t == p.SAMPLE else b)
            frame = made.frame(packet.ts + MS // 25)
            stage.inject(frame.ts, with_macs(frame, source).data)
    _label(stage, found, source, "second source, values × 3")


@attack("sv-value-shift", "middle", "T0832", "All values are raised by two fifths in flight", NEEDS, 10)
def value_shift(stage: Stage) -> None:
    def change(tag: int, body: bytes, _: int) -> bytes:
        return p.samples(body, lambda _, v: round(v * 1.4)) if tag == p.SAMPLE else body

    _in_flight(stage, "values × 1.4 in flight", change)


@attack(
    "sv-phantom-fault",
    "middle",
    "T0831",
    "Currents of a short circuit are shown: the protection would trip",
    NEEDS,
    2,
)
def phantom_fault(stage: Stage) -> None:
    def change(tag: int, body: bytes, _: int) -> bytes:
        if tag != p.SAMPLE:
            return body
        return p.samples(body, lambda channel, v: v * 12 if channel < CURRENTS else v // 3)

    _in_flight(stage, "currents × 12, voltages / 3 in flight", change)


@attack(
    "sv-hidden-fault",
    "frozen",
    "T0832",
    "A recorded cycle is shown again and again: real faults stay hidden",
    NEEDS,
    10,
)
def hidden_fault(stage: Stage) -> None:
    found = _stream(stage)
    record: list[bytes] = []
    for row in found.rows:
        pdu = p.pdu(stage.scene.packets[row])
        if stage.scene.packets[row].ts >= stage.begin or pdu is None or len(record) >= 80:
            break
        record += [body for parts in p.asdus(pdu) for tag, body in parts if tag == p.SAMPLE]
    if not record:
        raise NotOffered("sampled values before the attack, to record")
    number = -1

    def change(tag: int, body: bytes, _: int) -> bytes:
        nonlocal number
        if tag != p.SAMPLE:
            return body
        number += 1
        old = record[number % len(record)]
        return old if len(old) == len(body) else body

    _in_flight(stage, "recorded samples again, smpCnt counts on", change)


@attack("sv-freeze", "frozen", "T0832", "The waveform stands still", NEEDS, 5)
def freeze(stage: Stage) -> None:
    kept: list[bytes] = []

    def change(tag: int, body: bytes, _: int) -> bytes:
        if tag != p.SAMPLE:
            return body
        kept.append(body)
        return kept[0] if len(kept[0]) == len(body) else body

    _in_flight(stage, "one sample stands still, smpCnt counts on", change)


@attack("sv-drift", "frozen", "T0832", "Values creep away in flight", NEEDS, 30)
def drift(stage: Stage) -> None:
    span = max(1.0, stage.span)

    def change(tag: int, body: bytes, age: int) -> bytes:
        factor = 1 + 0.5 * age / SECOND / span
        return p.samples(body, lambda _, v: round(v * factor)) if tag == p.SAMPLE else body

    _in_flight(stage, "values creep up to × 1.5 in flight", change)


@attack("sv-desync", "time", "T0856", "smpSynch says that the clock is lost", NEEDS, 10)
def desync(stage: Stage) -> None:
    _in_flight(stage, "smpSynch 0 in flight", lambda tag, body, _: b"\0" if tag == p.SYNCH else body)


@attack(
    "sv-count-jump",
    "middle",
    "T0831",
    "smpCnt is moved by a quarter of a second's samples in flight",
    NEEDS,
    5,
)
def count_jump(stage: Stage) -> None:
    def change(tag: int, body: bytes, _: int) -> bytes:
        if tag != p.COUNT or len(body) != 2:
            return body
        return struct.pack("!H", (int.from_bytes(body, "big") + 1000) % 4000)

    _in_flight(stage, "smpCnt + 1000 in flight", change)


@attack(
    "sv-replay",
    "replay",
    "T0856",
    "A recorded stretch of the stream, a second at most, comes again beside the true one",
    NEEDS,
    2,
)
def replay(stage: Stage) -> None:
    found = _stream(stage)
    earlier = [p for row in found.rows if (p := stage.scene.packets[row]).ts < stage.begin]
    most = min(SECOND, stage.until - stage.begin)
    record = [packet for packet in earlier if packet.ts >= stage.begin - most][:4_800]
    if len(record) < RECORDED:
        raise NotOffered(f"{RECORDED} frames of the stream before the attack, to record")
    later = stage.begin - record[0].ts + MS // 20
    for packet in record:
        stage.inject(packet.ts + later, packet.data)
    seconds = (record[-1].ts - record[0].ts) / SECOND
    _label(stage, found, found.mac, f"recorded {seconds:.2f} s again")


@attack("sv-suppress", "suppression", "T0804", "The stream's frames are dropped", NEEDS, 5)
def suppress(stage: Stage) -> None:
    found = _stream(stage)
    for row in found.active:
        stage.drop(row)
    _label(stage, found, found.mac, "the stream is not heard")


@attack("sv-flood", "flood", "T0814", "The stream's frames are sent three more times each", NEEDS, 1)
def flood(stage: Stage) -> None:
    found = _stream(stage)
    for row in found.active:
        packet = stage.packet(row)
        for copy in range(1, 4):
            stage.inject(packet.ts + copy * MS // 30, packet.data)
    _label(stage, found, found.mac, "three copies of each frame")


@attack(
    "sv-delay", "delay", "T0814", "Frames arrive late and irregularly, up to three milliseconds", NEEDS, 5
)
def delay(stage: Stage) -> None:
    found = _stream(stage)
    last = 0
    for row in found.active:
        ts = stage.packet(row).ts
        at = max(last + 1_000, ts + round(stage.random.uniform(0, 3 * MS)))
        stage.delay(row, at - ts)
        last = at
    _label(stage, found, found.mac, "up to 3 ms late, in order")

"""Attacks on GOOSE (IEC 61850-8-1:2011, clause 18)."""

from __future__ import annotations

from itertools import pairwise
from statistics import median

from sensor.simulate.attacks import pdus as p
from sensor.simulate.build.goose import utc_time
from sensor.simulate.packets import with_macs
from sensor.simulate.registry import attack
from sensor.simulate.stage import MS, SECOND, NotOffered, Stage, ip_mac

NEEDS = "a GOOSE publisher"
LIMIT = 0xFFFFFFFF


def _publisher(stage: Stage, changing: bool = False) -> p.Publisher:
    return p.publisher(stage, p.GOOSE, changing)


def _latest(stage: Stage, found: p.Publisher, ts: int) -> p.Pdu:
    """The state that a publisher showed last before a time."""
    rows = [row for row in found.rows if stage.scene.packets[row].ts <= ts] or found.rows[:1]
    latest = p.pdu(stage.scene.packets[rows[-1]])
    if latest is None:
        raise NotOffered(NEEDS)
    return latest


def _heartbeat(stage: Stage, found: p.Publisher) -> float:
    """Usual pause between two frames, s."""
    ts = [stage.scene.packets[row].ts for row in found.rows]
    return max(0.004, median(b - a for a, b in pairwise(ts)) / SECOND)


def _event(
    stage: Stage,
    found: p.Publisher,
    ts: int,
    seconds: float,
    st: int,
    source: bytes,
    simulation: bool = False,
) -> None:
    """A forged state change with its retransmissions."""
    state = _latest(stage, found, ts).put(p.ST, p.number(st)).put(p.T, utc_time(ts))
    state = state.put(p.ENTRIES, p.inverted(state.get(p.ENTRIES)))
    if simulation:
        state = state.put(p.SIM, b"\x01")
    end, sq = min(ts + round(seconds * SECOND), stage.until), 0
    for pause in p.curve(0.004, _heartbeat(stage, found)):
        if ts >= end:
            break
        frame = state.put(p.SQ, p.number(sq)).frame(ts, simulation=simulation, mark=stage.name)
        stage.inject(ts, with_macs(frame, source).data)
        ts, sq = ts + round(pause * SECOND), sq + 1


def _label(stage: Stage, found: p.Publisher, source: bytes, note: str) -> None:
    stage.label(source, found.group, f"{note} ({found.name})")


# --- forged events ----------------------------------------------------------------------------------------


@attack(
    "goose-takeover",
    "rogue",
    "T0855",
    "A forged state change with stNum ahead, under the publisher's address",
    NEEDS,
    20,
)
def takeover(stage: Stage) -> None:
    found = _publisher(stage)
    st = min(LIMIT, _latest(stage, found, stage.begin).number(p.ST) + 1)
    _event(stage, found, stage.begin + MS, 20.0, st, found.mac)
    _label(stage, found, found.mac, "forged event, stNum ahead, true publisher goes on")


@attack(
    "goose-second-publisher",
    "rogue",
    "T0848",
    "A second publisher of the same control block at another address",
    NEEDS,
    30,
)
def second_publisher(stage: Stage) -> None:
    found = _publisher(stage)
    source = ip_mac("10.66.66.66")
    st = min(LIMIT, _latest(stage, found, stage.begin).number(p.ST) + 5)
    _event(stage, found, stage.begin + MS, 30.0, st, source)
    _label(stage, found, source, "second publisher with stNum ahead")


@attack(
    "goose-poison",
    "suppression",
    "T0804",
    "One frame with the highest stNum: receivers drop all that follows",
    NEEDS,
    5,
)
def poison(stage: Stage) -> None:
    found = _publisher(stage)
    _event(stage, found, stage.begin + MS, 0.002, LIMIT, found.mac)
    _label(stage, found, found.mac, "one frame with stNum 4294967295")


@attack(
    "goose-simulation",
    "rogue",
    "T0856",
    "Frames with the simulation bit: receivers in test believe them",
    NEEDS,
    20,
)
def simulation(stage: Stage) -> None:
    found = _publisher(stage)
    st = min(LIMIT, _latest(stage, found, stage.begin).number(p.ST) + 1)
    _event(stage, found, stage.begin + MS, 20.0, st, found.mac, simulation=True)
    _label(stage, found, found.mac, "simulated frames under the publisher's address")


@attack(
    "goose-restart",
    "restart",
    "T0856",
    "A forged restart of the publisher: stNum and sqNum begin again",
    NEEDS,
    5,
)
def restart(stage: Stage) -> None:
    found = _publisher(stage)
    _event(stage, found, stage.begin + MS, 1.0, 1, found.mac)
    _label(stage, found, found.mac, "stNum 1 as after a restart, with other values")


@attack(
    "goose-slow", "slow", "T0855",
    "One forged state change an hour (a few in a short capture), a single frame each", NEEDS, 86_400,
)  # fmt: skip
def slow(stage: Stage) -> None:
    found = _publisher(stage)
    for ts in stage.times(max(3, min(24, int(stage.span // 3600))), 3600.0):
        st = min(LIMIT, _latest(stage, found, ts).number(p.ST) + 1)
        _event(stage, found, ts + MS, 0.002, st, found.mac)
    _label(stage, found, found.mac, "now and then a single forged frame, stNum ahead")


# --- replay, flood ----------------------------------------------------------------------------------------


@attack(
    "goose-replay", "replay", "T0856", "A recorded burst comes again under the publisher's address", NEEDS, 20
)
def replay(stage: Stage) -> None:
    found = _publisher(stage)
    record = [stage.scene.packets[row] for row in found.rows if stage.scene.packets[row].ts < stage.begin][
        :15
    ]
    if not record:
        raise NotOffered("GOOSE frames before the attack, to record")
    ts = stage.begin + MS
    for packet, follower in zip(record, [*record[1:], record[-1]], strict=True):
        stage.inject(ts, packet.data)
        ts += min(follower.ts - packet.ts, SECOND) or SECOND
        if ts >= stage.until:
            break
    _label(stage, found, found.mac, "frames of an earlier state again")


@attack(
    "goose-flood",
    "flood",
    "T0814",
    "Hundreds of frames a second for one control block, from another address",
    NEEDS,
    5,
)
def flood(stage: Stage) -> None:
    found = _publisher(stage)
    source, state = ip_mac("10.66.66.67"), _latest(stage, found, stage.begin)
    for sq in range(min(2_500, int(500 * stage.span))):
        ts = stage.begin + round(sq * SECOND / 500)
        frame = state.put(p.SQ, p.number(sq)).frame(ts)
        stage.inject(ts, with_macs(frame, source).data)
    _label(stage, found, source, "500 frames a second")


# --- in the path ------------------------------------------------------------------------------------------


@attack(
    "goose-value-change",
    "middle",
    "T0832",
    "Booleans and positions are inverted in flight, counters fit",
    NEEDS,
    60,
)
def value_change(stage: Stage) -> None:
    found = _publisher(stage)
    stamp = b""
    for sq, row in enumerate(found.active):
        state = p.pdu(stage.packet(row))
        if state is None:
            continue
        ts = stage.packet(row).ts
        stamp = stamp or utc_time(ts)
        state = state.put(p.ENTRIES, p.inverted(state.get(p.ENTRIES))).put(p.SQ, p.number(sq)).put(p.T, stamp)
        state = state.put(p.ST, p.number(min(LIMIT, state.number(p.ST) + 1)))
        stage.replace(row, state.frame(ts))
    _label(stage, found, found.mac, "inverted in flight, stNum raised")


@attack(
    "goose-silent-change", "middle", "T0832", "Values are changed in flight without a new stNum", NEEDS, 60
)
def silent_change(stage: Stage) -> None:
    found = _publisher(stage)
    for row in found.active:
        state = p.pdu(stage.packet(row))
        if state is not None:
            entries = p.floats(p.inverted(state.get(p.ENTRIES)), lambda v: v * 1.4)
            stage.replace(row, state.put(p.ENTRIES, entries).frame(stage.packet(row).ts))
    _label(stage, found, found.mac, "values changed in flight, counters as they were")


@attack(
    "goose-freeze", "frozen", "T0832", "A state change is hidden: the old state is repeated, sqNum counts on",
    "a GOOSE publisher that changes its state during the attack", 86_400,
)  # fmt: skip
def freeze(stage: Stage) -> None:
    found = _publisher(stage, changing=True)
    kept: p.Pdu | None = None
    hidden: list[int] = []
    for row in found.active:
        state = p.pdu(stage.packet(row))
        if kept is None:
            kept = state
        elif state is not None and state.number(p.ST) != kept.number(p.ST):
            hidden.append(row)
    assert kept is not None
    sq = kept.number(p.SQ) + len(found.active) - len(hidden)
    for row in hidden:
        frame = kept.put(p.SQ, p.number(sq & LIMIT)).frame(stage.packet(row).ts)
        stage.replace(row, frame)
        sq += 1
    _label(stage, found, found.mac, "a state change is hidden from the receivers")


@attack(
    "goose-revision", "middle", "T0831", "confRev is raised in flight: receivers refuse the frames", NEEDS, 60
)
def revision(stage: Stage) -> None:
    found = _publisher(stage)
    for row in found.active:
        state = p.pdu(stage.packet(row))
        if state is not None:
            raised = p.number((state.number(p.CONF) + 1) & LIMIT)
            stage.replace(row, state.put(p.CONF, raised).frame(stage.packet(row).ts))
    _label(stage, found, found.mac, "confRev raised in flight")


@attack(
    "goose-time", "time", "T0856", "The time of the last change is set back by an hour in flight", NEEDS, 60
)
def wrong_time(stage: Stage) -> None:
    found = _publisher(stage)
    for row in found.active:
        state = p.pdu(stage.packet(row))
        if state is not None and len(state.get(p.T)) == 8:
            seconds = max(0, int.from_bytes(state.get(p.T)[:4], "big") - 3600)
            frame = state.put(p.T, seconds.to_bytes(4, "big") + state.get(p.T)[4:]).frame(
                stage.packet(row).ts
            )
            stage.replace(row, frame)
    _label(stage, found, found.mac, "t one hour back in flight")


@attack("goose-suppress", "suppression", "T0804", "The publisher's frames are dropped", NEEDS, 60)
def suppress(stage: Stage) -> None:
    found = _publisher(stage)
    for row in found.active:
        stage.drop(row)
    _label(stage, found, found.mac, "the publisher is not heard")


@attack(
    "goose-delay",
    "delay",
    "T0814",
    "Frames arrive late and irregularly, up to a heartbeat and a half",
    NEEDS,
    60,
)
def delay(stage: Stage) -> None:
    found = _publisher(stage)
    late, last = 1.5 * _heartbeat(stage, found), 0
    limit = stage.packet(found.active[-1]).ts
    for row in found.active[:-1]:
        ts = stage.packet(row).ts
        ts = max(last + MS // 2, min(limit - MS, ts + round(stage.random.uniform(0, late) * SECOND)))
        if ts > stage.packet(row).ts:
            stage.delay(row, ts - stage.packet(row).ts)
        last = ts
    _label(stage, found, found.mac, "frames arrive late, in order")

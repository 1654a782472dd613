"""Live capture over a real cable between two network namespaces: what is sent is what is captured."""

from __future__ import annotations

import functools
import socket
import time
from collections.abc import Callable, Generator, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from detectors.base import Level, Reading, Slice
from detectors.groups import Lens
from detectors.rules.goose import GooseRules
from grid_profiles.loader import load_registry
from sensor.capture import bpf, ring
from sensor.capture import live as live_module
from sensor.capture.live import MARGIN, LiveCapture, LiveSettings
from sensor.capture.ring import BLOCK, Ring, RingSettings, State
from sensor.engines import Decoded
from sensor.errors import InterfaceError, MissingToolError, UsageError
from sensor.frames import FrameBatch
from sensor.slices import Slicer
from tests.lab import frames as goose
from tests.live import wire

pytestmark = pytest.mark.skipif(bool(wire.missing()), reason=wire.missing() or "can be tested")

SECONDS = 10.0
"""Longest time to wait for something that comes within a fraction of a second."""

Frames = Generator[FrameBatch, None, None]

MACS = bytes.fromhex("02000000000102000000000a")


@pytest.fixture(scope="module")
def line() -> Iterator[wire.Cable]:
    with wire.Cable() as cable:
        yield cable


@pytest.fixture
def cable(line: wire.Cable, monkeypatch: pytest.MonkeyPatch) -> Iterator[wire.Cable]:
    """The cable, seen from the sensor's namespace; looked at more often than usual."""
    monkeypatch.setattr(live_module, "TICK", 0.05)
    with wire.entered(wire.SENSOR):
        with Ring(line.tap, RingSettings(mib=1)) as opened:  # the kernel may take a second to call it running
            until = time.monotonic() + SECONDS
            while opened.state() is not State.UP:
                assert time.monotonic() < until
                time.sleep(0.01)
        yield line


def frame(number: int, size: int = 60, tag: bytes = b"", kind: int = 0x88B8) -> bytes:
    """An Ethernet frame that says its number."""
    return MACS + tag + kind.to_bytes(2, "big") + number.to_bytes(4, "big") + bytes([number & 0xFF]) * size


def gather(live: LiveCapture, batches: Frames, enough: Callable[[list[bytes]], bool]) -> list[bytes]:
    """Frames until there are enough of them."""
    found: list[bytes] = []
    until = time.monotonic() + SECONDS
    while not enough(found):
        assert time.monotonic() < until, f"waited in vain; blind: {live.blind}, {len(found)} frames"
        batch = next(batches)
        found += [batch.frame(row) for row in range(len(batch))]
    return found


def started(**settings: object) -> tuple[LiveCapture, Frames]:
    """A capture whose ring is open."""
    live = LiveCapture(LiveSettings(wire.Cable.tap, **settings))  # type: ignore[arg-type]
    batches = live.batches()
    assert len(next(batches)) == 0
    return live, batches


def test_frames_come_as_they_were_sent_and_nothing_is_ever_sent_back(cable: wire.Cable) -> None:
    tags = (b"", bytes.fromhex("81002005"), bytes.fromhex("88a80064"), bytes.fromhex("88a8006481000000"))
    sent = [frame(n, 46 + 13 * (n % 110), tags[n % 4]) for n in range(2000)]
    with cable.sender() as sender:
        before = cable.sent_frames(wire.SENSOR, cable.tap)
        live, batches = started()
        began = time.time_ns()
        wire.send_all(sender, sent)
        found: list[FrameBatch] = []
        while sum(map(len, found)) < len(sent):
            found.append(next(batches))
        live.stop()
        assert sum(map(len, batches)) == 0
        sender.setblocking(False)
        with pytest.raises(BlockingIOError):
            sender.recv(1)
    assert [batch.frame(row) for batch in found for row in range(len(batch))] == sent
    ts = np.concatenate([batch.ts for batch in found])
    assert began <= ts[0] <= ts[-1] <= time.time_ns()
    assert all(a <= b for a, b in pairwise(ts.tolist()))
    assert np.concatenate([batch.number for batch in found]).tolist() == list(range(1, 2001))
    assert all(
        int(batch.wirelen[row]) == int(batch.caplen[row]) for batch in found for row in range(len(batch))
    )
    assert (live.frames, live.octets, live.dropped) == (2000, sum(map(len, sent)), 0)
    assert live.counters.packets == 2000
    assert cable.sent_frames(wire.SENSOR, cable.tap) == before


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("ether proto 0x88b8", [0, 1, 2, 3, 4, 5]),
        ("vlan 5", [1, 3, 5]),
        ("ether proto 0x0800", []),
        ("", [0, 1, 2, 3, 4, 5]),
    ],
)
def test_a_filter_chooses_in_the_kernel(cable: wire.Cable, text: str, wanted: list[int]) -> None:
    if text and bpf._library() is None:
        pytest.skip("no libpcap: sudo apt-get install libpcap0.8")
    with cable.sender() as sender:
        live, batches = started(filter=text)
        wire.send_all(sender, [frame(n, tag=bytes.fromhex("81002005") * (n % 2)) for n in range(6)])
        time.sleep(0.05)
        live.stop()
        numbers = [batch.frame(row)[-1] for batch in batches for row in range(len(batch))]
    assert numbers == wanted
    assert live.counters.packets == len(wanted)


def test_a_filter_is_the_same_while_the_interface_is_down(cable: wire.Cable) -> None:
    up = bpf.compile_filter("vlan 5 and tcp port 502", cable.tap)
    cable.set(wire.SENSOR, cable.tap, "down")
    down = bpf.compile_filter("vlan 5 and tcp port 502", cable.tap)
    cable.set(wire.SENSOR, cable.tap, "up")
    assert down == up


def test_an_end_comes_even_when_the_clock_was_set_back(
    cable: wire.Cable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_module, "LATEST_END", 0.3)
    with cable.sender() as sender:
        live, batches = started()
        monkeypatch.setattr(live_module.time, "time_ns", lambda: 2**62)  # the stop lies in the frames' future
        live.stop()
        until = time.monotonic() + SECONDS
        for _ in range(1000):
            wire.send_all(sender, [frame(1)])
            if next(batches, None) is None:
                break
        assert time.monotonic() < until


def test_a_filter_that_cannot_be_understood_says_why(cable: wire.Cable) -> None:
    if bpf._library() is None:
        pytest.skip("no libpcap: sudo apt-get install libpcap0.8")
    with pytest.raises(UsageError, match=r"'tcp prt 5': .*syntax error"):
        LiveCapture(LiveSettings(cable.tap, filter="tcp prt 5"))


def test_tcpdump_compiles_filters_where_libpcap_is_missing(
    cable: wire.Cable, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_library = bpf.compile_filter("tcp port 2404", cable.tap)
    monkeypatch.setattr(bpf, "_library", lambda: None)
    if bpf.shutil.which("tcpdump"):
        assert bpf.compile_filter("tcp port 2404", cable.tap) == with_library
        with pytest.raises(UsageError, match="syntax error"):
            bpf.compile_filter("tcp prt 5", cable.tap)
    monkeypatch.setattr(bpf.shutil, "which", lambda *_, **__: None)
    with pytest.raises(MissingToolError, match="libpcap"):
        bpf.compile_filter("tcp port 2404", cable.tap)


def test_what_nobody_reads_in_time_is_lost_and_counted(cable: wire.Cable) -> None:
    sent = [frame(n, 1000) for n in range(3000)]
    with cable.sender() as sender, Ring(cable.tap, RingSettings(mib=1)) as opened:
        assert opened.size == 8 * BLOCK
        wire.send_all(sender, sent)
        found: list[bytes] = []
        while opened.wait(0.2):
            batch = opened.take(len(found) + 1, 1 << 20)
            assert batch is not None
            found += [batch.frame(row) for row in range(len(batch))]
        counters = opened.counters()
    assert counters.packets == len(sent)
    assert counters.drops == len(sent) - len(found) > 0
    assert counters.freezes > 0
    assert found == sent[: len(found)]


def test_loss_ends_up_in_the_notes(cable: wire.Cable) -> None:
    with cable.sender() as sender:
        live, batches = started(ring_mib=1)
        wire.send_all(sender, [frame(n, 1000) for n in range(3000)])
        live.stop()
        got = sum(map(len, batches))
    assert live.dropped == 3000 - got > 0
    assert "lost because the ring was full" in live.notes[-1]


def test_losses_stand_where_they_fell_and_explain_the_gaps(cable: wire.Cable) -> None:
    """GOOSE frames that the ring had no room for: told with the time, and no alert about the publisher."""
    body = functools.partial(goose.goose_pdu, "IED1LD0/LLN0$GO$gcb1", 60_000, "IED1LD0/LLN0$ds", "trip")
    sent = [
        goose.goose_frame("01:0c:cd:01:00:01", "02:00:00:00:00:0a", 1, body(0, 7, n, [goose.g_bool(False)]))
        for n in range(20_000)
    ]
    live = LiveCapture(LiveSettings(cable.tap, ring_mib=1))
    decoded = Decoded([live], load_registry(), "native")
    batches, slicer = iter(decoded), Slicer()
    rules, pieces = GooseRules(Lens(decoded.names)), list[Slice]()
    assert not len(next(batches))
    with cable.sender() as sender:
        for part in range(2):
            wire.send_all(sender, sent[8_000 * part : 8_000 * part + 8_000])
            time.sleep(0.3)
            pieces += slicer.push(next(batches))
        wire.send_all(sender, sent[16_000:])
        time.sleep(0.3)
        live.stop()
        pieces += [piece for batch in batches for piece in slicer.push(batch)]
    pieces += slicer.close()
    assert sum(piece.lost for piece in pieces) == live.dropped > 0
    found = [finding for piece in pieces for finding in rules.detect(piece)]
    gaps = [finding for finding in found if finding.rule == "goose-gap"]
    assert gaps
    assert {(finding.level, finding.reading) for finding in gaps} == {(Level.INFO, Reading.VISIBILITY)}


def test_an_interface_that_goes_down_comes_back(cable: wire.Cable) -> None:
    events: list[str] = []
    with cable.sender() as sender:
        live, batches = started()
        live.on_event = events.append
        wire.send_all(sender, [frame(1)])
        assert gather(live, batches, bool) == [frame(1)]
        cable.set(wire.SENSOR, cable.tap, "down")
        gather(live, batches, lambda _: live.blind is State.DOWN)
        assert next(batches).clock == 0, "what cannot be seen is not silent"
        cable.set(wire.SENSOR, cable.tap, "up")
        gather(live, batches, lambda _: live.blind is None)
        cable.set(wire.STATION, cable.source, "down")
        gather(live, batches, lambda _: live.blind is State.NO_CARRIER)
        cable.set(wire.STATION, cable.source, "up")
        gather(live, batches, lambda _: live.blind is None)
        wire.send_all(sender, [frame(2)])
        assert gather(live, batches, bool) == [frame(2)]
        live.stop()
        list(batches)
    told, back = "; ".join(events), f"{cable.tap} is back"
    assert 0 < told.index("is down") < told.index(back) < told.rindex("no carrier") < told.rindex(back)
    assert [("was down" in note, "no carrier" in note) for note in live.notes] == [
        (True, False),
        (False, True),
    ]
    assert live.blind_s > 0


def test_an_interface_that_is_down_at_the_start_is_waited_for(cable: wire.Cable) -> None:
    cable.set(wire.SENSOR, cable.tap, "down")
    live, batches = started()
    gather(live, batches, lambda _: live.blind is State.DOWN)
    cable.set(wire.SENSOR, cable.tap, "up")
    gather(live, batches, lambda _: live.blind is None)
    with cable.sender() as sender:
        wire.send_all(sender, [frame(1)])
        assert gather(live, batches, bool) == [frame(1)]
    batches.close()
    assert "was down" in live.notes[0]


def test_an_interface_that_is_removed_and_made_anew_is_opened_again(cable: wire.Cable) -> None:
    live, batches = started()
    with cable.sender() as sender:
        wire.send_all(sender, [frame(1)])
        assert gather(live, batches, bool) == [frame(1)]
    cable.unplug()
    gather(live, batches, lambda _: live.blind is State.GONE)
    cable.plug()
    gather(live, batches, lambda _: live.blind is None)
    with cable.sender() as sender:
        wire.send_all(sender, [frame(2), frame(3)])
        assert gather(live, batches, lambda found: len(found) == 2) == [frame(2), frame(3)]
    live.stop()
    list(batches)
    assert live.counters.packets == live.frames == 3
    assert "was not there" in live.notes[0]


def test_an_idle_network_moves_the_clock_and_not_beyond_what_may_still_come(cable: wire.Cable) -> None:
    live, batches = started()
    clocks = [next(batches).clock for _ in range(3)]
    assert clocks == sorted(set(clocks))
    assert time.time_ns() - MARGIN - 5 * MARGIN < clocks[-1] <= time.time_ns() - MARGIN
    live.stop()
    assert sum(map(len, batches)) == 0


def test_count_and_duration_end_a_capture(cable: wire.Cable) -> None:
    with cable.sender() as sender:
        live, batches = started(count=7)
        wire.send_all(sender, [frame(n) for n in range(20)])
        assert [batch.frame(row) for batch in batches for row in range(len(batch))] == [
            frame(n) for n in range(7)
        ]
        live, batches = started(duration=0.5)
        wire.send_all(sender, [frame(n) for n in range(20)])
        assert sum(map(len, batches)) == 20
    assert 500 <= live.position < 1000 * SECONDS


def test_batches_keep_to_the_size_asked_for(cable: wire.Cable) -> None:
    with cable.sender() as sender:
        live = LiveCapture(LiveSettings(cable.tap, count=100))
        batches = live.batches(max_frames=30)
        next(batches)
        wire.send_all(sender, [frame(n) for n in range(100)])
        found = [batch for batch in batches if len(batch)]
    assert max(map(len, found)) == 30
    assert np.concatenate([batch.number for batch in found]).tolist() == list(range(1, 101))


def test_a_loopback_shows_every_frame_once(cable: wire.Cable) -> None:
    live = LiveCapture(LiveSettings("lo", filter="udp port 9", duration=0.4))
    batches = live.batches()
    next(batches)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"once", ("127.0.0.1", 9))
    found = [batch.frame(row) for batch in batches for row in range(len(batch))]
    assert [one[-4:] for one in found] == [b"once"]


def test_what_the_machine_itself_sends_can_be_left_out(cable: wire.Cable) -> None:
    for outgoing, expected in ((True, 1), (False, 0)):
        live = LiveCapture(LiveSettings(cable.tap, duration=0.3, outgoing=outgoing))
        batches = live.batches()
        next(batches)
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sender:
            sender.bind((cable.tap, 0))
            sender.send(frame(1))
        assert sum(map(len, batches)) == expected


def test_tun_frames_are_raw_ip_and_odd_interfaces_go_to_tshark(
    cable: wire.Cable, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not Path("/dev/net/tun").exists():
        pytest.skip("no tun devices on this machine")
    wire.run("ip", "tuntap", "add", "gwtun", "mode", "tun")
    wire.run("ip", "link", "set", "gwtun", "up")
    with Ring("gwtun", RingSettings(mib=1)) as opened:
        assert opened.link == 101
    wire.run("ip", "link", "del", "gwtun")
    monkeypatch.setattr(ring, "LINKS", {})
    with pytest.raises(InterfaceError, match="--engine tshark"):
        Ring(cable.tap, RingSettings(mib=1))


def test_an_unknown_interface_is_named_beside_those_there_are(cable: wire.Cable) -> None:
    with pytest.raises(InterfaceError, match=r"no interface 'eth99' .* gwtap"):
        LiveCapture(LiveSettings("eth99"))

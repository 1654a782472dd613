"""DNP3, native against tshark, all columns, on real captures.

Every difference that may remain is named here, with who is right; anything else fails the test.

- A frame whose header CRC is wrong or whose length is below 5: tshark takes the segment for no DNP3, or
  dissects garbage behind a good frame; natively it is a MALFORMED row, and the next frame is searched for, as
  a receiver does (clause 9.2.4.1). Native is right.
- Messages that the native engine calls MALFORMED: tshark reads on behind reserved qualifiers, stops before
  their starts and objects of unknown length, so point, count, value and points may be of garbage.
- NEGATIVE: tshark's profile sees the first control status only, natively one of many is enough.
- Functions whose objects tshark does not read (freeze at time, start and stop application, assign class, get
  file information, authentication …): point, count, name and points are native only.
- MALFORMED on tshark's side alone: objects of the standard that tshark 4.0 does not know (g4v3, g31v1, g50v4,
  g51v2, g52v1, g70v2, g120 …), behind which it reads nothing, and link frames without data where it looks for
  some (NACK, test link).
- Values of unsigned dead-bands (g34) and of several IIN bits in one write, which tshark misreads; behind the
  value of g43v1 and g43v3 it loses its place.
- Fragments whose transport sequence passes 63: tshark 4.0 does not put them together, and mixes what is left
  of them with what the same two hosts say later. Native is right (the number goes from 63 to 0).
- A connection whose opening was not seen and whose client has the port of another protocol (1080, SOCKS):
  tshark reads it as that one. Native is right: 20000 is DNP3's.
- A segment that repeats bytes and brings new ones: tshark reads all of it again. Native is right.
- Segments out of order: tshark waits for the missing one, natively a wrong sequence number ends the fragment
  (clause 8.3).
"""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from grid_profiles.vocabulary import Flag
from tests.lab import dnp3_frames as d
from tests.lab import frames as f
from tests.sensor.differential import decoded, sent_again, taken_for_another
from tests.sensor.test_differential import MASK, STATEFUL, corpus, difference, same
from tests.sensor.test_wire_dnp3 import T48, VALUES, fragment

pytestmark = [pytest.mark.tshark, pytest.mark.skipif(not shutil.which("tshark"), reason="no tshark here")]

UNREAD = {11, 12, 13, 14, 15, 16, 17, 18, 19, 22, 23, 24, 28, 29, 30, 31, 32, 33, 131}
DATALESS = {513, 526, 527, 530}
LOST = {0x2B01, 0x2B03}
MISREAD = {0x2201, 0x2202, 0x5001} | LOST
OBJECTS = ("point", "value", "count", "name")
BAD = int(Flag.MALFORMED)
UNKNOWN = "dnp3.unknown_object || dnp3.al.unknown_data_chunk"
S = 1_000_000_000


def made_up(path: Path) -> Path:
    """Every object and function, segments, several frames a segment, wrong checks; TCP and UDP."""
    talk = f.Talk("10.0.0.1", "10.0.0.2", 20000)
    talk.open(0)
    requests = [d.request(function, d.everything(60, 2)) for function in (1, *range(7, 34))]
    requests += [
        d.request(1, bytes([30, 2, 0x17, 2, 3, 9]) + d.everything(1, 0)),
        d.request(3, d.indexed(12, 1, (5, d.crob(0x41)), (6, d.crob(3)))),
        d.request(2, bytes([50, 1, 7, 1]) + T48),
        d.request(6, d.indexed(41, 2, (1, b"\x10\0\0")), dst=65535),
        d.request(25, d.free(70, 3, d.file_command(b"/etc/conf.xml", 2))),
        *(d.link(control) for control in (0xC0, 0xC2, 0xC9, 0x00, 0x01, 0x0B, 0x0F, 0x0E)),
    ]
    answers = [d.response(d.indexed(g, v, (1, octets), (2, octets))) for g, v, octets, _, _ in VALUES]
    answers += [d.response(d.span(g, v, 3, 4, octets + octets)) for g, v, octets, _, _ in VALUES]
    answers += [d.response(d.span(g, v, 3, 4, octets + octets[:-1])) for g, v, octets, _, _ in VALUES]
    answers += [
        d.response(d.span(1, 1, 3, 13, b"\x85\x04") + d.span(3, 1, 0, 4, b"\xe4\x02")),
        d.response(d.indexed(12, 1, (5, d.crob(0x41)), (6, d.crob(3, 4)))),
        d.response(bytes([51, 1, 7, 1]) + T48 + d.indexed(2, 3, (9, b"\x81\1\0"))),
        d.response(d.free(70, 5, bytes(40))),
        b"".join(d.segments(0x44, fragment(300), first=10)),
        *d.segments(0x44, fragment(300), first=20),
        d.response(d.span(30, 2, 0, 9, bytes(30)))[:-1] + b"!",
        d.response(iin=0x9207) + d.response(function=130, iin=0x0400),
        *d.segments(0x44, fragment(500), first=62),
    ]
    turns = [(talk.client, pdu) for pdu in requests] + [(talk.server, pdu) for pdu in answers]
    for number, (say, pdu) in enumerate(turns, 1):
        say(number * S, pdu)
    datagrams = [
        f.udp_frame("10.0.0.4", "10.0.0.3", 20000, 20001, one) for one in d.segments(0x44, fragment(300))
    ]
    f.write_pcap(path, [*talk.frames, *((999 * S, one) for one in datagrams)])
    return path


def unknown_to_tshark(path: Path) -> set[int]:
    """Frames with an object that this tshark does not know."""
    call = ["tshark", "-r", str(path), "-Y", UNKNOWN, "-T", "fields", "-e", "frame.number"]
    return {
        int(line) for line in subprocess.run(call, capture_output=True, text=True, check=True).stdout.split()
    }


def wrapped(native: pd.DataFrame, tshark: pd.DataFrame) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Rows that tshark reads wrongly since it missed the end of a fragment between the same two hosts."""
    parts = tshark["kind"].isin((531, 532)) & (native["bits"] & int(Flag.REASSEMBLED) != 0)
    hosts = native["client"] + native["server"]
    first = native["frame"].where(parts & (native["kind"] < 512)).groupby(hosts).transform("min")
    return ((native["kind"] != tshark["kind"]) & (native["frame"] >= first)).to_numpy()


@pytest.mark.parametrize("path", [pytest.param(None, id="made up"), *corpus("protocols/dnp3*")])
def test_native_and_tshark_give_the_same_rows(path: Path | None, tmp_path: Path) -> None:
    path = path or made_up(tmp_path / "dnp3.pcap")
    (native, native_points), (tshark, tshark_points) = (
        decoded(path, engine, ["dnp3"]) for engine in ("native", "tshark")
    )
    if Counter(native["frame"]) != Counter(tshark["frame"]):
        other = taken_for_another(path, "dnp3") | sent_again(path)
        native, native_points, tshark, tshark_points = (
            t[~t["frame"].isin(other)] for t in (native, native_points, tshark, tshark_points)
        )
    lost = (native["kind"] < 0) | (native["size"] < 10)
    assert (native["bits"][lost] & BAD != 0).all()
    mine, theirs = Counter(native["frame"][~lost]), Counter(tshark["frame"])
    assert mine == theirs or lost.any()
    kept = {frame for frame in mine if mine[frame] == theirs[frame]}
    native, tshark = (t[t["frame"].isin(kept)].reset_index(drop=True) for t in (native[~lost], tshark))
    fine = ~wrapped(native, tshark) & (native["bits"] & int(Flag.LATE) == 0).to_numpy()
    skipped = set(native["frame"][~fine])
    native, tshark = native[fine].reset_index(drop=True), tshark[fine].reset_index(drop=True)
    unknown = native["frame"].isin(unknown_to_tshark(path)).to_numpy()
    misplaced = set(native_points["frame"][native_points["kind"].isin(LOST)])
    bad = (native["bits"] & BAD != 0).to_numpy()
    loose = (
        bad | unknown | native["kind"].isin(UNREAD).to_numpy() | native["frame"].isin(misplaced).to_numpy()
    )
    for column in set(native.columns) - {"flags", "bits"}:
        wrong = ~same(native[column], tshark[column]) & ~(loose & (column in OBJECTS))
        assert not wrong.any(), difference(column, native, tshark, wrong)
    negative = np.where((native["count"] > 1).fillna(False), int(Flag.NEGATIVE), 0)
    mask = MASK & ~int(STATEFUL) & ~negative
    wrong = ((native["bits"] & mask) != (tshark["bits"] & mask)).to_numpy()
    assert not wrong.any(), difference("flags", native, tshark, wrong)
    wrong = (tshark["bits"] & BAD != 0).to_numpy() & ~loose & ~native["kind"].isin(DATALESS).to_numpy()
    assert not wrong.any(), difference("flags", native, tshark, wrong)
    skipped |= set(native["frame"][loose])
    ours, its = (
        t[t["frame"].isin(kept - skipped)].reset_index(drop=True) for t in (native_points, tshark_points)
    )
    assert len(ours) == len(its)
    for column in ("frame", "kind", "point", "value", "quality", "conversation"):
        wrong = ~same(ours[column], its[column])
        if column == "value":
            wrong &= ~ours["kind"].isin(MISREAD).to_numpy()
        assert not wrong.any(), difference(column, ours, its, wrong)

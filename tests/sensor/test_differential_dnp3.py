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
- MALFORMED on tshark's side alone: objects of the standard that tshark 4.0 does not know (g51v2, g70v2,
  g120 …), and link frames without data where it looks for some (NACK, test link).
- Values of unsigned dead-bands (g34), of g43 and of several IIN bits in one write, which tshark misreads.
- Segments out of order: tshark waits for the missing one, natively a wrong sequence number ends the fragment
  (clause 8.3).
"""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from grid_profiles.vocabulary import Flag
from tests.sensor.differential import decoded
from tests.sensor.test_differential import MASK, STATEFUL, corpus, difference, same

pytestmark = [pytest.mark.tshark, pytest.mark.skipif(not shutil.which("tshark"), reason="no tshark here")]

UNREAD = {11, 12, 15, 16, 17, 18, 19, 22, 24, 28, 29, 30, 31, 32, 33, 131}
DATALESS = {513, 526, 527, 530}
OBJECTS = ("point", "value", "count", "name")
BAD = int(Flag.MALFORMED)


@pytest.mark.parametrize("path", corpus("protocols/dnp3*"))
def test_native_and_tshark_give_the_same_rows(path: Path) -> None:
    (native, native_points), (tshark, tshark_points) = (
        decoded(path, engine, ["dnp3"]) for engine in ("native", "tshark")
    )
    lost = (native["kind"] < 0) | (native["size"] < 10)
    assert (native["bits"][lost] & BAD != 0).all()
    mine, theirs = Counter(native["frame"][~lost]), Counter(tshark["frame"])
    assert mine == theirs or lost.any()
    kept = {frame for frame in mine if mine[frame] == theirs[frame]}
    native, tshark = (t[t["frame"].isin(kept)].reset_index(drop=True) for t in (native[~lost], tshark))
    bad = (native["bits"] & BAD != 0).to_numpy()
    loose = bad | native["kind"].isin(UNREAD).to_numpy()
    for column in set(native.columns) - {"flags", "bits"}:
        wrong = ~same(native[column], tshark[column]) & ~(loose & (column in OBJECTS))
        assert not wrong.any(), difference(column, native, tshark, wrong)
    negative = np.where((native["count"] > 1).fillna(False), int(Flag.NEGATIVE), 0)
    mask = MASK & ~int(STATEFUL) & ~negative
    wrong = ((native["bits"] & mask) != (tshark["bits"] & mask)).to_numpy()
    assert not wrong.any(), difference("flags", native, tshark, wrong)
    wrong = (tshark["bits"] & BAD != 0).to_numpy() & ~bad & ~native["kind"].isin(DATALESS | {-1}).to_numpy()
    assert not wrong.any(), difference("flags", native, tshark, wrong)
    skipped = set(native["frame"][loose])
    ours, its = (
        t[t["frame"].isin(kept - skipped)].reset_index(drop=True) for t in (native_points, tshark_points)
    )
    assert len(ours) == len(its)
    for column in ("frame", "kind", "point", "value", "quality", "conversation"):
        wrong = ~same(ours[column], its[column])
        assert not wrong.any(), difference(column, ours, its, wrong)

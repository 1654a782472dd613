"""Native against tshark, all columns, on real captures: the decoders' proof.

Every difference that may remain is named here, with who is right; anything else fails the test.

- ``state``/``point`` of a Modbus response: tshark joins a response with the *last* request of its
  transaction (a repeated request counts), joins neither exception responses nor functions without an
  address, and gives no address for the answer to some (FC 24). The native engine joins all of them, with
  the first request seen. Native is right.
- MALFORMED: the native engine holds lengths and limits of the standards against every message; tshark
  marks only what it cannot dissect. Native is stricter.
- RETRANSMITTED, GAP, MIDSTREAM, REASSEMBLED, UNANSWERED, CONFLICT, LATE: state of a TCP connection
  or transaction, which only the native engine keeps.
- Time tags of IEC 60870-5-104 are points only natively; ``test_differential_values`` compares them.
- A frame of a connection whose bytes went missing: tshark goes on waiting for them, the native engine
  starts again with the next message. Native is right: so does the device after a reconnect.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from grid_profiles.vocabulary import TIME_TAG, Flag
from sensor.engines import open_engine
from sensor.table import message_table
from sensor.track.state import GOOSE, IEC104, MODBUS

pytestmark = [pytest.mark.tshark, pytest.mark.skipif(not shutil.which("tshark"), reason="no tshark here")]

BUNDLED = sorted((Path(__file__).parents[2] / "sensor" / "data" / "demo").glob("*.pcap.gz"))
STATEFUL = Flag.RETRANSMITTED | Flag.GAP | Flag.MIDSTREAM | Flag.REASSEMBLED | Flag.UNANSWERED
STATEFUL |= Flag.CONFLICT | Flag.LATE
COMPARED = [name for name in Flag if name not in STATEFUL and name is not Flag.MALFORMED]
MASK = int(np.bitwise_or.reduce([int(flag) for flag in COMPARED]))
NOT_TABLE = {"flags", "state", "point"}


def corpus(pattern: str) -> list[Any]:
    """Captures of the corpus, or one parameter that skips and says so."""
    root = os.environ.get("GRIDWARDEN_CORPUS")
    found = sorted(Path(root).glob(pattern)) if root else []
    if found:
        return [pytest.param(path, id=path.name, marks=pytest.mark.corpus) for path in found]
    skip = pytest.mark.skip(reason="GRIDWARDEN_CORPUS names no folder of real captures")
    return [pytest.param(Path(), id=f"corpus {pattern}", marks=[skip, pytest.mark.corpus])]


CAPTURES = [
    *(pytest.param(path, id=path.name) for path in BUNDLED),
    *corpus("protocols/goose*"),
    *corpus("protocols/iec104*"),
    *corpus("protocols/modbus*"),
    *corpus("modbus-lemay/*.pcap"),
    *corpus("iec104-energy/*.pcap"),
]


def decoded(path: Path, engine: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Messages and points of the three native protocols, names resolved."""
    run = open_engine([path], engine, copies="keep")
    messages, points = [], []
    for batch in run:
        rows = batch.messages[np.isin(batch.messages["proto"], (MODBUS, IEC104, GOOSE))]
        table = message_table(rows, run.names)
        table["bits"] = rows["flags"].astype(np.int64)
        messages.append(table)
        own = batch.points[np.isin(batch.points["proto"], (MODBUS, IEC104, GOOSE))]
        own = own[own["kind"] < TIME_TAG]
        columns: dict[str, Any] = {name: own[name] for name in ("frame", "ts", "kind", "value", "quality")}
        columns["point"] = [
            run.names.point(int(p), int(x)) for p, x in zip(own["proto"], own["point"], strict=True)
        ]
        columns["conversation"] = [str(run.names.conversation(int(c))) for c in own["conv"]]
        points.append(pd.DataFrame(columns))
    return pd.concat(messages, ignore_index=True), pd.concat(points, ignore_index=True)


def same(first: pd.Series, second: pd.Series) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Equal, or missing on both sides; floats to what tshark prints (7 digits)."""
    if first.name == "value":
        return np.isclose(first, second, rtol=2e-7, atol=0.0, equal_nan=True)
    missing = (first.isna() & second.isna()).to_numpy()
    return np.asarray((first == second).fillna(False), bool) | missing


def waiting_frames(native: pd.DataFrame, tshark: pd.DataFrame) -> set[int]:
    """Frames whose message count differs; only the named reason is allowed."""
    mine, theirs = Counter(native["frame"]), Counter(tshark["frame"])
    differing = {frame for frame in mine | theirs if mine[frame] != theirs[frame]}
    gaps = native["bits"] & int(Flag.GAP | Flag.RETRANSMITTED) != 0
    for frame in differing:
        assert mine[frame] > theirs[frame], f"only tshark has a message in frame {frame}"
        assert gaps[native["frame"] <= frame].any(), f"frame {frame}: no byte was missing before it"
    return differing


@pytest.mark.parametrize("path", CAPTURES)
def test_native_and_tshark_give_the_same_rows(path: Path) -> None:
    (native, native_points), (tshark, tshark_points) = decoded(path, "native"), decoded(path, "tshark")
    skipped = waiting_frames(native, tshark)
    native, tshark, native_points, tshark_points = (
        table[~table["frame"].isin(skipped)].reset_index(drop=True)
        for table in (native, tshark, native_points, tshark_points)
    )
    assert len(native) == len(tshark)
    for column in set(native.columns) - NOT_TABLE - {"bits"}:
        wrong = ~same(native[column], tshark[column])
        assert not wrong.any(), difference(column, native, tshark, wrong)
    check_flags(native, tshark)
    check_pairing(native, tshark)
    assert len(native_points) == len(tshark_points)
    for column in native_points.columns:
        wrong = ~same(native_points[column], tshark_points[column])
        assert not wrong.any(), difference(column, native_points, tshark_points, wrong)


def check_flags(native: pd.DataFrame, tshark: pd.DataFrame) -> None:
    """The flags of :data:`MASK` are equal, and what tshark calls malformed the native engine does too."""
    flags = (native["bits"] & MASK) != (tshark["bits"] & MASK)
    assert not flags.any(), difference("flags", native, tshark, flags.to_numpy())
    only_tshark = (tshark["bits"] & int(Flag.MALFORMED) != 0) & (native["bits"] & int(Flag.MALFORMED) == 0)
    assert not only_tshark.any(), difference("flags", native, tshark, only_tshark.to_numpy())


def check_pairing(native: pd.DataFrame, tshark: pd.DataFrame) -> None:
    """``state`` and ``point``: equal, or a Modbus response that tshark joins worse (see above)."""
    answers = (native["protocol"] == "modbus") & (native["role"] == "server")
    for column in ("state", "point"):
        wrong = ~same(native[column], tshark[column])
        assert not (wrong & ~answers).any(), difference(column, native, tshark, wrong & ~answers)
        unjoined = tshark["state"].isna() & native["state"].notna()
        earlier = (native["state"] < tshark["state"]).fillna(False).astype(bool)
        nameless = (tshark["point"] == "") & (native["point"] != "")
        unexplained = wrong & ~unjoined & ~earlier & ~(nameless & (column == "point"))
        assert not unexplained.any(), difference(column, native, tshark, unexplained)


def difference(column: str, native: pd.DataFrame, tshark: pd.DataFrame, wrong: Any) -> str:
    """The first few rows that differ."""
    rows = np.flatnonzero(wrong)[:5]
    told = [(native["frame"][i], native[column][i], tshark[column][i]) for i in rows]
    return f"{column}: {int(np.sum(wrong))} rows differ; (frame, native, tshark): {told}"

"""Native against tshark for synchrophasors and what runs over ISO transport, all columns, on real captures.

Every difference that may remain is named here, with who is right; anything else fails the test.

- MALFORMED and the state of TCP connections: as in ``test_differential``. A frame sent again (RETRANSMITTED)
  is a message only natively: a replay must be seen.
- C37.118: a header frame without text (16 bytes) is a message only natively. ``name``: tshark 4.0 shows a
  station's name only in configuration 3, the native engine in 1 and 2 too. ``value`` of an analog channel:
  tshark shows its name instead, so that only the native engine has the number; of a frequency: tshark prints
  six digits. Native is right.
- C37.118 points of the second PMU and channel on: tshark's fields do not tell to which they belong.
  ``aux`` of a stream of less than one frame a second is missing natively.
- MMS and S7comm ``state``, and ``point`` of a response: only the native engine joins a response with its
  request, and gives it the request's point. Native knows more.
- MMS ``value`` and points, the first number of each variable that is written, reported or read alone:
  natively only. Native knows more.
- MMS ``seq``, ``aux``, ``name`` and ``ident`` of a report of IEC 61850 (SqNum, its parts, data set, RptID):
  tshark shows them as values without names, so that only the native engine has them. Native knows more.
- ``size`` of MMS and COTP: tshark's is the payload of the frame in which the message ended, shared among its
  messages; the native engine's is the packet with its header, and all packets of a segmented message.
- ``killRequest``: tshark does not take 8B 00 right above the transport for a conclude; a packet whose COTP
  header is impossible is a malformed row natively and none of tshark's. Native is right.
- C37.118 ``cause`` and ``value`` before the stream's configuration was seen: tshark reads no data frame
  without it, but STAT stands at the same place in all of them. TCP whose first captured segment begins within
  a frame: tshark waits for a segment that begins with one, natively the bytes are searched for it (the
  checksum tells). Native is right.
- MMS whose association was not seen (a sensor is started on a running station): tshark has a row of COTP and
  nothing inside, the native engine knows MMS by its form. Native knows more.
- A segment that repeats bytes and brings new ones: tshark reads all of it again, the native engine what is
  new; what is joined with it tshark may miss. Native is right.
- Messages that the capture cut: natively what is there of them, tshark has other parts of it or none.
- COTP ``name`` and ``ident``: of a TSAP without octets tshark says that it cannot show it.
- COTP: a frame that holds a message and another data unit (an acknowledgement, a first segment) has a row for
  that unit only natively; S7comm-plus is a kind of its own natively. Native knows more.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from grid_profiles.loader import NATIVE_IDS
from grid_profiles.vocabulary import Flag
from sensor.engines import open_engine
from sensor.table import message_table
from tests.sensor.differential import equal, sent_again
from tests.sensor.test_differential import MASK, corpus

pytestmark = [pytest.mark.tshark, pytest.mark.skipif(not shutil.which("tshark"), reason="no tshark here")]

PROTOCOLS = ("c37118", "cotp", "mms", "s7comm")
IDS = [NATIVE_IDS[name] for name in PROTOCOLS]
CAPTURES = [
    *corpus("protocols/synphasor__*"),
    *corpus("protocols/mms__*"),
    *corpus("protocols/s7comm__*"),
]
COLUMNS = (
    "ts",
    "conversation",
    "role",
    "kind",
    "cause",
    "point",
    "value",
    "count",
    "size",
    "seq",
    "state",
    "aux",
)
TEXTS = ("name", "ident")
REPORT = 768
DATA = 0
DT = 15
S7COMM_PLUS = 114
ANALOG = 4
WHOSE = 0xFFFF00FF
"""Of a point of C37.118 the ID code and what was measured: without the PMU's and the channel's number."""
MIDDLE = int(Flag.MIDSTREAM)
REPEATED = int(Flag.RETRANSMITTED | Flag.GAP | Flag.LATE | Flag.CONFLICT)


def decoded(path: Path, engine: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Messages and points of these protocols, everything with a name in words."""
    run = open_engine([path], engine)
    messages, points = [], []
    for batch in run:
        rows = batch.messages[np.isin(batch.messages["proto"], IDS)]
        table = message_table(rows, run.names)
        table["bits"] = rows["flags"].astype(np.int64)
        table["conversation"] = [str(run.names.conversation(int(conv))) for conv in rows["conv"]]
        messages.append(table)
        own = batch.points[batch.points["proto"] == NATIVE_IDS["c37118"]]
        columns: dict[str, Any] = {name: own[name] for name in ("frame", "kind", "point", "value", "quality")}
        points.append(pd.DataFrame(columns))
    return pd.concat(messages, ignore_index=True), pd.concat(points, ignore_index=True)


def same(first: pd.Series, second: pd.Series) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Equal, or missing on both sides; floats to the six digits that tshark prints."""
    if first.name == "value":
        return np.isclose(first, second, rtol=1e-5, atol=0.0, equal_nan=True)
    return equal(first, second)


def told(column: str, native: pd.DataFrame, tshark: pd.DataFrame, wrong: Any) -> str:
    """The first few rows that differ."""
    rows = np.flatnonzero(wrong)[:5]
    pairs = [(native["frame"][i], native[column][i], tshark[column][i]) for i in rows]
    return f"{column}: {int(np.sum(wrong))} rows differ; (frame, native, tshark): {pairs}"


def frames_of(table: pd.DataFrame) -> pd.Series:
    return table.groupby(["frame", "protocol"]).size()


def share_a_segment(native: pd.DataFrame, tshark: pd.DataFrame) -> Any:
    """Messages over ISO transport in segments with more than them: others, or the beginning of the next."""
    cut = (native["bits"] | tshark["bits"]) & int(Flag.REASSEMBLED) != 0
    begun = cut.groupby([native["client"], native["server"], native["role"]]).shift(-1, fill_value=False)
    several = native["frame"].duplicated(keep=False)
    return native["protocol"].isin(("mms", "cotp", "s7comm")) & (cut | begun | several)


def without_association(native: pd.DataFrame, tshark: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Without messages of MMS natively that tshark leaves to COTP, frame by frame, and what it has there."""
    inside = set(native["frame"][native["protocol"] == "mms"]) - set(
        tshark["frame"][tshark["protocol"] == "mms"]
    )
    bare = inside & set(tshark["frame"][(tshark["protocol"] == "cotp") & (tshark["kind"] == DT)])
    bare -= set(native["frame"][native["protocol"] == "cotp"])
    first, second = (t[~t["frame"].isin(bare)].reset_index(drop=True) for t in (native, tshark))
    return first, second


def beside(native: pd.DataFrame, tshark: pd.DataFrame) -> Any:
    """Native rows of COTP in frames where tshark has a message of something above, or another data unit."""
    cotp = (native["protocol"] == "cotp") & ~native["frame"].isin(
        tshark["frame"][tshark["protocol"] == "cotp"]
    )
    return cotp & native["frame"].duplicated(keep=False)


def explained_frames(native: pd.DataFrame, tshark: pd.DataFrame) -> set[int]:
    """Frames in which the engines may have different numbers of messages."""
    bits = native["bits"]
    synchrophasor = native["protocol"] == "c37118"
    empty = synchrophasor & (native["size"] == 16)
    found = synchrophasor & (bits & int(Flag.MALFORMED) == 0) & ~native["frame"].isin(tshark["frame"])
    impossible = (native["protocol"] == "cotp") & (bits & int(Flag.MALFORMED) != 0)
    bare = (native["protocol"] == "mms") & (native["size"] == 9)
    repeated = (bits & (REPEATED | int(Flag.TRUNCATED))) != 0
    return set(native["frame"][repeated | empty | found | impossible | bare])


@pytest.mark.parametrize("path", CAPTURES)
def test_native_and_tshark_give_the_same_rows(path: Path) -> None:
    (native, native_points), (tshark, tshark_points) = decoded(path, "native"), decoded(path, "tshark")
    assert len(tshark) or not len(native) or (native["bits"] & MIDDLE != 0).any()
    native, tshark = without_association(native, tshark)
    native = native[~beside(native, tshark)].reset_index(drop=True)
    counts = pd.concat([frames_of(native), frames_of(tshark)], axis=1).fillna(0).astype(int)
    differing = set(counts.index[counts[0] != counts[1]])
    only = {frame for frame, _ in differing}
    again = sent_again(path) if only else set()
    joined = native["frame"][native["bits"] & int(Flag.REASSEMBLED) != 0] if again else ()
    unexplained = only - explained_frames(native, tshark) - again - set(joined)
    assert not unexplained, counts.loc[[key for key in differing if key[0] in unexplained]]
    native, tshark, native_points, tshark_points = (
        table[~table["frame"].isin(only)].reset_index(drop=True)
        for table in (native, tshark, native_points, tshark_points)
    )
    answers = native["protocol"].isin(("mms", "s7comm")) & (native["role"] == "server")
    reports = (native["protocol"] == "mms") & (native["kind"] == REPORT) & (tshark["name"] == "RPT")
    shared = share_a_segment(native, tshark)
    iso = native["protocol"].isin(("mms", "cotp", "s7comm"))
    cut = native["bits"] & int(Flag.TRUNCATED) != 0
    unread = (native["protocol"] == "c37118") & (native["kind"] == DATA) & tshark["cause"].isna()
    for column in COLUMNS:
        wrong = ~same(native[column], tshark[column])
        if column in ("state", "point"):
            wrong &= ~(answers & (tshark[column].isna() | (tshark[column] == "")))
        elif column == "value":
            wrong &= (native["protocol"] != "mms") & ~unread
        elif column == "cause":
            wrong &= ~unread
        elif column in ("seq", "aux"):
            slow = (native["protocol"] == "c37118") & native["aux"].isna() & (tshark["aux"] < 0)
            plus = (native["protocol"] == "cotp") & (native["kind"] == S7COMM_PLUS)
            wrong &= ~reports & ~((slow | plus) & (column == "aux"))
        elif column == "kind":
            wrong &= ~((native["kind"] == S7COMM_PLUS) & (tshark["kind"] == DT))
        elif column == "size":
            wrong &= ~shared & ~(iso & (native["size"] < tshark["size"]))
        wrong &= ~cut | (column in ("ts", "conversation", "role"))
        assert not wrong.any(), told(column, native, tshark, wrong)
    for column in TEXTS:
        wrong = ~same(native[column], tshark[column])
        wrong &= ~((native["protocol"] == "c37118") & (tshark[column] == "")) & ~reports & ~cut
        wrong &= ~((native[column] == "") & (tshark[column] == "<unsupported TSAP length>"))
        assert not wrong.any(), told(column, native, tshark, wrong)
    flags = (native["bits"] & MASK) != (tshark["bits"] & MASK)
    assert not flags.any(), told("flags", native, tshark, flags)
    assert len(native_points) == len(tshark_points)
    for column in native_points.columns:
        if column == "point":
            native_points, tshark_points = (
                t.assign(point=t["point"] & WHOSE) for t in (native_points, tshark_points)
            )
        wrong = ~same(native_points[column], tshark_points[column])
        if column == "value":
            wrong &= ~((native_points["kind"] == ANALOG) & tshark_points["value"].isna())
        assert not wrong.any(), told(column, native_points, tshark_points, wrong)

"""Native against tshark, all columns, on real captures: the decoders' proof.

Every difference that may remain is named here, with who is right; anything else fails the test.

- ``state``/``point`` of a Modbus response: tshark joins a response with the *last* request of its
  transaction (a repeated request counts, natively it joins nothing), joins neither exception responses nor
  functions without an address, and gives no address for the answer to some (FC 24). The native engine joins
  all of them, with the first request seen. Native is right.
- MALFORMED: the native engine holds lengths and limits of the standards against every message; tshark
  marks only what it cannot dissect. Native is stricter.
- RETRANSMITTED, GAP, MIDSTREAM, REASSEMBLED, UNANSWERED, CONFLICT, LATE: state of a TCP connection
  or transaction, which only the native engine keeps.
- Time tags of IEC 60870-5-104 are points only natively; ``test_differential_values`` compares them.
- A frame of a connection whose bytes went missing: tshark goes on waiting for them, the native engine
  starts again with the next message. Native is right: so does the device after a reconnect.
- A message that the capture cut, or that the native engine calls MALFORMED: tshark loses its place in it or
  reads on behind it, so that only who said it to whom is compared.
- MALFORMED on tshark's side alone: types of ASDU that the standard reserves (22 to 29, 41 to 44, … and the
  private ones from 128 on), whose elements it takes for something; and what follows the last message in a
  segment. The elements of types 17 to 20 and 38 to 40 it shows as octets, and of 113 after the first object.
- A clock set to a time that there is not (a month 0) has a value of tshark's only; from one that is marked as
  summer time it takes an hour, natively it is left to the reader.
- Points of Modbus functions 15 and 23, which tshark shows as octets, and of responses that it joins with
  another request. An exception with the code 0 is none for tshark.
- Doubles in GOOSE data sets, which tshark shows as octets.
- A Modbus ADU of which the first segment holds less than 8 bytes: tshark takes that segment for no Modbus and
  never sees the message. Native is right.
- A message behind octets that are left over in the segment before: tshark joins them with it and sees none.
  Native is right: a segment begins with a message.
- A segment that repeats bytes and brings new ones: tshark reads all of it again, the native engine what is
  new. Native is right.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from grid_profiles.vocabulary import TIME_TAG, Flag
from sensor.engines import open_engine
from sensor.table import message_table
from sensor.track.state import GOOSE, IEC104, MODBUS
from sensor.wire.iec104 import CLOCK, ELEMENT_SIZE
from tests.sensor.differential import equal, sent_again

pytestmark = [pytest.mark.tshark, pytest.mark.skipif(not shutil.which("tshark"), reason="no tshark here")]

BUNDLED = sorted((Path(__file__).parents[2] / "sensor" / "data" / "demo").glob("*.pcap.gz"))
STATEFUL = Flag.RETRANSMITTED | Flag.GAP | Flag.MIDSTREAM | Flag.REASSEMBLED | Flag.UNANSWERED
STATEFUL |= Flag.CONFLICT | Flag.LATE
COMPARED = [name for name in Flag if name not in STATEFUL and name is not Flag.MALFORMED]
MASK = int(np.bitwise_or.reduce([int(flag) for flag in COMPARED]))
BAD = int(Flag.MALFORMED | Flag.TRUNCATED)
NOT_TABLE = {"flags", "state", "point"}
ENVELOPE = {"frame", "time", "ts", "protocol", "src", "dst", "client", "server", "role", "port", "vlan"}
FLOATING_POINT = 0x87
OCTETS_ONLY = (17, 18, 19, 20, 38, 39, 40, 113)


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
    return equal(first, second)


def waiting_frames(native: pd.DataFrame, tshark: pd.DataFrame, path: Path) -> set[int]:
    """Frames whose message count differs; only the named reasons are allowed."""
    mine, theirs = Counter(native["frame"]), Counter(tshark["frame"])
    differing = {frame for frame in mine | theirs if mine[frame] != theirs[frame]}
    gaps = native["bits"] & int(Flag.GAP | Flag.RETRANSMITTED) != 0
    joined = set(native["frame"][native["bits"] & int(Flag.REASSEMBLED) != 0])
    again = sent_again(path) if differing else set()
    odd = min(behind(path, native) if differing else (), default=1 << 62)
    again |= set(tshark["frame"][tshark["bits"] & int(Flag.TRUNCATED) != 0])
    for frame in differing - again:
        assert mine[frame] > theirs[frame], f"only tshark has a message in frame {frame}"
        explained = frame in joined or odd < frame or gaps[native["frame"] <= frame].any()
        assert explained, f"frame {frame}: no byte was missing before it"
    return differing


@pytest.mark.parametrize("path", CAPTURES)
def test_native_and_tshark_give_the_same_rows(path: Path) -> None:
    (native, native_points), (tshark, tshark_points) = decoded(path, "native"), decoded(path, "tshark")
    skipped = waiting_frames(native, tshark, path)
    native, tshark, native_points, tshark_points = (
        table[~table["frame"].isin(skipped)].reset_index(drop=True)
        for table in (native, tshark, native_points, tshark_points)
    )
    assert len(native) == len(tshark)
    bad = (native["bits"] & BAD != 0).to_numpy()
    for column in set(native.columns) - NOT_TABLE - {"bits"}:
        wrong = ~same(native[column], tshark[column]) & ~(bad & (column not in ENVELOPE))
        wrong &= ~((column == "value") & (undecoded(native) | in_summer(native, tshark)))
        wrong &= ~((column in ("cause", "count")) & no_exception(native))
        assert not wrong.any(), difference(column, native, tshark, wrong)
    check_flags(native, tshark, behind(path, native) if bad_only_there(native, tshark).any() else set())
    check_pairing(native, tshark)
    left_out = set(native["frame"][bad | undecoded(native) | unlike_points(native, tshark)])
    native_points, tshark_points = (
        table[~table["frame"].isin(left_out)].reset_index(drop=True)
        for table in (native_points, tshark_points)
    )
    assert len(native_points) == len(tshark_points)
    for column in native_points.columns:
        wrong = ~same(native_points[column], tshark_points[column])
        if column == "value":
            wrong &= ~(tshark_points["value"].isna() & (native_points["kind"] == FLOATING_POINT)).to_numpy()
        assert not wrong.any(), difference(column, native_points, tshark_points, wrong)


def undecoded(native: pd.DataFrame) -> Any:
    """Messages whose ``value`` tshark does not have.

    ASDUs of types that the standard reserves, or whose elements tshark 4.0 shows as octets, and clocks set to
    a time that there is not.
    """
    iec104 = native["protocol"] == "iec104"
    reserved = native["kind"].isin([kind for kind in range(1, 256) if ELEMENT_SIZE[kind] < 0])
    no_time = (native["kind"] == CLOCK) & native["value"].isna()
    return (iec104 & (reserved | no_time | native["kind"].isin(OCTETS_ONLY))).to_numpy()


def in_summer(native: pd.DataFrame, tshark: pd.DataFrame) -> Any:
    """Clocks set to a summer time, from which tshark takes an hour."""
    clock = (native["protocol"] == "iec104") & (native["kind"] == CLOCK)
    return clock.to_numpy() & np.isclose(native["value"] - tshark["value"], 3600.0, atol=1e-3)


def no_exception(native: pd.DataFrame) -> Any:
    """Exception responses of Modbus with the code 0, which there is not."""
    return ((native["protocol"] == "modbus") & (native["cause"] == 0).fillna(False)).to_numpy(bool)


def unlike_points(native: pd.DataFrame, tshark: pd.DataFrame) -> Any:
    """Modbus whose values tshark shows as octets only, or that it joined with another request."""
    modbus = native["protocol"] == "modbus"
    other = ~same(native["state"], tshark["state"])
    return (modbus & (native["kind"].isin((15, 23)) | other)).to_numpy()


def bad_only_there(native: pd.DataFrame, tshark: pd.DataFrame) -> Any:
    """Rows that tshark alone calls malformed, or negative where there is no exception."""
    bad = int(Flag.MALFORMED)
    only = (tshark["bits"] & bad != 0) & (native["bits"] & bad == 0)
    return only.to_numpy() & ~undecoded(native)


def behind(path: Path, native: pd.DataFrame) -> set[int]:
    """Frames whose TCP payload is longer than the messages in it: tshark's mark is about the rest."""
    call = [
        "tshark",
        "-r",
        str(path),
        "-Y",
        "tcp.len > 0",
        "-T",
        "fields",
        "-e",
        "frame.number",
        "-e",
        "tcp.len",
    ]
    told = subprocess.run(call, capture_output=True, text=True, check=True).stdout.split()
    read = native.groupby("frame")["size"].sum()
    pairs = zip(map(int, told[::2]), map(int, told[1::2]), strict=True)
    return {frame for frame, size in pairs if size > read.get(frame, size)}


def check_flags(native: pd.DataFrame, tshark: pd.DataFrame, rest: Collection[int] = ()) -> None:
    """The flags of :data:`MASK` are equal, and what tshark calls malformed the native engine does too.

    But for frames of ``rest``, in which tshark's mark is about something else.
    """
    unlike = np.where(no_exception(native), int(Flag.NEGATIVE), 0)
    flags = (((native["bits"] ^ tshark["bits"]) & MASK & ~unlike) != 0).to_numpy()
    assert not flags.any(), difference("flags", native, tshark, flags)
    only_tshark = bad_only_there(native, tshark) & ~native["frame"].isin(rest).to_numpy()
    assert not only_tshark.any(), difference("flags", native, tshark, only_tshark)


def check_pairing(native: pd.DataFrame, tshark: pd.DataFrame) -> None:
    """``state`` and ``point``: equal, or a Modbus response that tshark joins worse (see above)."""
    answers = (native["protocol"] == "modbus") & (native["role"] == "server")
    for column in ("state", "point"):
        wrong = ~same(native[column], tshark[column])
        bad = (native["bits"] & BAD != 0).to_numpy()
        assert not (wrong & ~answers & ~bad).any(), difference(
            column, native, tshark, wrong & ~answers & ~bad
        )
        unjoined = tshark["state"].isna() & native["state"].notna()
        earlier = (native["state"] < tshark["state"]).fillna(False).astype(bool)
        nameless = (tshark["point"] == "") & (native["point"] != "")
        repeated = tshark["state"].isin(native["frame"][native["bits"] & int(Flag.RETRANSMITTED) != 0])
        unexplained = wrong & ~bad & ~repeated & ~unjoined & ~earlier & ~(nameless & (column == "point"))
        assert not unexplained.any(), difference(column, native, tshark, unexplained)


def difference(column: str, native: pd.DataFrame, tshark: pd.DataFrame, wrong: Any) -> str:
    """The first few rows that differ."""
    rows = np.flatnonzero(wrong)[:5]
    told = [(native["frame"][i], native[column][i], tshark[column][i]) for i in rows]
    return f"{column}: {int(np.sum(wrong))} rows differ; (frame, native, tshark): {told}"

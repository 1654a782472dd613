"""Messages and points of some protocols of a capture, names resolved: what differential tests compare."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sensor.engines import open_engine
from sensor.table import message_table

NUL = re.compile(r"\\x00|\\000")
UNPRINTABLE = re.compile(r"(?:\\x[0-9a-f]{2}|\\u[0-9a-f]{4}|\\U[0-9a-f]{8}|\\[0-7]{3}|\\[abefnrtv]|[^ -~])+")


def plain(text: str) -> str:
    """A text as far as both engines can tell it.

    For tshark it ends at its first NUL, and what is not printable comes out as its dissector likes; natively
    all of it is there, escaped, so that nothing hides behind a NUL.
    """
    return UNPRINTABLE.sub("?", NUL.split(text)[0])


def equal(first: pd.Series, second: pd.Series) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Rows that are the same, missing on both sides, or the same :func:`plain` text."""
    alike = np.asarray((first == second).fillna(False), bool) | (first.isna() & second.isna()).to_numpy()
    for row in np.flatnonzero(~alike):
        mine, theirs = first.iloc[row], second.iloc[row]
        if isinstance(mine, str) and isinstance(theirs, str):
            alike[row] = plain(mine) == plain(theirs)
    return alike


def decoded(path: Path, engine: str, protocols: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two tables; ``message`` of a point is the row of its message."""
    run = open_engine([path], engine, copies="keep")
    idents = [run.names.protocol_id(name) for name in protocols]
    messages, points = [], []
    before = 0
    for batch in run:
        chosen = np.isin(batch.messages["proto"], idents)
        rows = batch.messages[chosen]
        table = message_table(rows, run.names)
        table["bits"] = rows["flags"].astype(np.int64)
        messages.append(table)
        own = batch.points[np.isin(batch.points["proto"], idents)]
        columns: dict[str, Any] = {name: own[name] for name in ("frame", "ts", "kind", "value", "quality")}
        columns["message"] = before + (np.cumsum(chosen) - 1)[own["message"]]
        columns["point"] = [
            run.names.point(int(p), int(x)) for p, x in zip(own["proto"], own["point"], strict=True)
        ]
        columns["conversation"] = [str(run.names.conversation(int(c))) for c in own["conv"]]
        points.append(pd.DataFrame(columns))
        before += len(rows)
    return pd.concat(messages, ignore_index=True), pd.concat(points, ignore_index=True)


def found(path: Path, filter_: str) -> set[int]:
    """Numbers of the frames that a display filter of tshark finds."""
    call = ["tshark", "-r", str(path), "-Y", filter_, "-T", "fields", "-e", "frame.number"]
    told = subprocess.run(call, capture_output=True, text=True, check=True).stdout
    return {int(line) for line in told.split()}


def lossy_streams(path: Path) -> set[int]:
    """Numbers of the TCP connections of which the capture lacks bytes, or has them twice or out of order.

    tshark waits for what is missing and joins what came twice in its own way.
    """
    asked = "tcp.analysis.lost_segment || tcp.analysis.retransmission || tcp.analysis.out_of_order"
    call = ["tshark", "-r", str(path), "-Y", asked, "-T", "fields", "-e", "tcp.stream"]
    told = subprocess.run(call, capture_output=True, text=True, check=True).stdout
    return {int(line) for line in told.split()}


def unfinished(native: pd.DataFrame, tshark: pd.DataFrame) -> set[int]:
    """Frames with the last message of a direction, where tshark has one less: the capture ends within it.

    The native engine reads the head of a long message, tshark waits for its end.
    """
    by = ["stream", "role"]
    more = native.groupby(by).size().sub(tshark.groupby(by).size(), fill_value=0)
    last = native.groupby(by)["frame"].max()
    return {int(last[key]) for key in more.index[more == 1] if key in last.index}


def sent_again(path: Path) -> set[int]:
    """Frames some of whose bytes were there before.

    Where such a segment brings new bytes too, tshark reads all of it again, the native engine what is new.
    """
    return found(path, "tcp.analysis.retransmission || tcp.analysis.out_of_order")


def taken_for_another(path: Path, protocol: str) -> set[int]:
    """Frames with TCP data that tshark reads as something other than ``protocol``, for their other port."""
    call = ["tshark", "-r", str(path), "-Y", f"tcp.len > 0 && !{protocol}", "-T", "fields"]
    call += ["-e", "frame.number", "-e", "frame.protocols"]
    told = subprocess.run(call, capture_output=True, text=True, check=True).stdout.split()
    above = [
        (int(frame), names.rpartition(":tcp")[2]) for frame, names in zip(*[iter(told)] * 2, strict=True)
    ]
    return {frame for frame, names in above if names not in ("", ":data")}

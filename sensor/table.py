"""The MessageBatch as a table for people and other programs: names resolved, one row per message."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from grid_profiles.vocabulary import Flag, Role
from sensor.frames import FILE_SHIFT
from sensor.names import Names

INTEGERS = ("count", "size", "seq", "state", "aux", "cause")
COLUMNS = (
    "frame",
    "file",
    "ts",
    "time",
    "protocol",
    "src",
    "dst",
    "client",
    "server",
    "port",
    "sub",
    "role",
    "kind",
    "kind_name",
    "class",
    "cause",
    "point",
    "value",
    "count",
    "size",
    "seq",
    "state",
    "aux",
    "name",
    "ident",
    "flags",
)
"""Columns in order. ``frame`` is 1-based over its file, ``file`` its 0-based place in the call."""


def message_table(messages: npt.NDArray[Any], names: Names) -> pd.DataFrame:
    """Messages with every number resolved that has a name.

    Returns
    -------
    DataFrame, one row per message
        ``ts`` int64 ns since 1970 UTC, ``time`` the same as text (RFC 3339, UTC); integers that are
        missing are <NA>, missing values NaN, missing texts "". ``state`` of a Modbus response is the frame
        number of its request, without the file's index.
    """
    proto = messages["proto"]
    table: dict[str, Any] = {
        "frame": messages["frame"] & ((1 << FILE_SHIFT) - 1),
        "file": messages["frame"] >> FILE_SHIFT,
        "ts": messages["ts"],
        "time": _times(messages["ts"]),
        "protocol": _resolve(proto, names.protocol),
        "src": _resolve(messages["src"], names.endpoint),
        "dst": _resolve(messages["dst"], names.endpoint),
        "client": _resolve(messages["conv"], lambda i: names.conversation(i).client),
        "server": _resolve(messages["conv"], lambda i: names.conversation(i).server),
        "port": _resolve(messages["conv"], lambda i: names.conversation(i).port, np.int64),
        "sub": _resolve(messages["conv"], lambda i: names.conversation(i).sub),
        "role": _resolve(messages["role"], lambda i: Role(i).name.lower()),
        "kind": messages["kind"],
        "kind_name": _pairs(proto, messages["kind"], names.kind),
        "class": _pairs(proto, messages["kind"], names.kind_class),
        "point": _pairs(proto, messages["point"], names.point),
        "value": messages["value"],
        "name": _resolve(messages["name"], names.text),
        "ident": _resolve(messages["ident"], names.text),
        "flags": _resolve(messages["flags"], flag_names),
    }
    for column in INTEGERS:
        values = messages[column].astype(np.int64)
        if column == "state":
            values = np.where(values > 0, values & ((1 << FILE_SHIFT) - 1), values)
        table[column] = pd.arrays.IntegerArray(values, values == -1)
    return pd.DataFrame({column: table[column] for column in COLUMNS})


def flag_names(bits: int) -> str:
    """Flags by name, joined by "+"."""
    return "+".join(flag.name.lower() for flag in Flag if bits & flag and flag.name)


def _times(ts: npt.NDArray[np.int64]) -> npt.NDArray[np.object_]:
    stamps = ts.astype("datetime64[ns]")
    return np.char.add(np.datetime_as_string(stamps, unit="ns"), "Z").astype(object)


def _resolve(values: npt.NDArray[Any], name: Any, dtype: Any = object) -> npt.NDArray[Any]:
    """Look each distinct number up once."""
    distinct, index = np.unique(values, return_inverse=True)
    texts = np.empty(len(distinct), dtype)
    for i, value in enumerate(distinct.tolist()):
        texts[i] = name(value)
    return texts[index]


def _pairs(first: npt.NDArray[Any], second: npt.NDArray[Any], name: Any) -> npt.NDArray[np.object_]:
    """Look each distinct pair of numbers up once."""
    pairs = np.empty(len(first), np.dtype([("a", "i8"), ("b", "i8")]))
    pairs["a"], pairs["b"] = first, second
    distinct, index = np.unique(pairs, return_inverse=True)
    texts = np.empty(len(distinct), object)
    for i, (a, b) in enumerate(distinct.tolist()):
        texts[i] = name(a, b)
    return texts[index]

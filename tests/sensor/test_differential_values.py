"""Values that only the native engine gives, against the octets and times that tshark shows.

S7comm: tshark prints the data of each item as octets (``s7comm.resp.data``) and leaves their types to the
reader; the points of a message, packed again, must be those octets. IEC 60870-5-104: tshark prints each time
tag as a date (``iec60870_asdu.cp56time``), an hour earlier where it is marked as summer time, which the
native engine leaves to the reader; a year beyond 99 is none natively and one of this century for tshark, and
so left out. Frames with one message are compared; tshark's lists do not tell to which of several a field
belongs.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections import defaultdict
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grid_profiles.vocabulary import TIME_TAG, Flag
from sensor.engines import open_engine
from sensor.wire import s7values as s7
from tests.sensor.test_differential import corpus

pytestmark = [pytest.mark.tshark, pytest.mark.skipif(not shutil.which("tshark"), reason="no tshark here")]

READ_ANSWER, WRITE_JOB = 772, 261
CODES = {s7.BIT: "B", s7.BYTE: "B", s7.PAIR: ">h", s7.INT: ">h", s7.REAL: ">f", s7.DINT: ">i", s7.TIME: ">i"}
CODES |= {s7.DWORD: ">I", s7.TIME_OF_DAY: ">I"}


def shown(path: Path, filter_: str, *fields: str) -> list[list[str]]:
    """Fields of the frames that a filter finds, as tshark prints them."""
    command = [
        "tshark",
        "-r",
        str(path),
        "-Y",
        filter_,
        "-T",
        "fields",
        "-E",
        "aggregator=;",
        "-E",
        "occurrence=a",
    ]
    for field in fields:
        command += ["-e", field]
    made = subprocess.run(command, capture_output=True, text=True, check=True)
    return [line.split("\t") for line in made.stdout.splitlines()]


def native(path: Path, protocol: str) -> tuple[dict[int, list[Any]], dict[int, list[Any]]]:
    """Messages and points of a protocol by frame."""
    run = open_engine([path], "native", copies="keep")
    ident = run.names.protocol_id(protocol)
    messages, points = defaultdict(list), defaultdict(list)
    for batch in run:
        for rows, kept in ((batch.messages, messages), (batch.points, points)):
            for row in rows[rows["proto"] == ident]:
                kept[int(row["frame"])].append(row)
    return messages, points


def packed(points: list[Any]) -> str:
    """The octets of points, in hexadecimal."""
    octets = b""
    for point in points:
        kind = int(point["kind"])
        if kind != s7.QUAD:
            code = CODES.get(kind, ">H")
            octets += struct.pack(code, point["value"] if code == ">f" else int(point["value"]))
    return octets.hex()


@pytest.mark.parametrize("path", corpus("protocols/s7comm__*"))
def test_s7_values_are_the_octets_of_the_data(path: Path) -> None:
    messages, points = native(path, "s7comm")
    fields = ("frame.number", "s7comm.header.rosctr", "s7comm.param.func", "s7comm.resp.data")
    compared = 0
    for frame, rosctr, function, data in shown(path, "s7comm.resp.data", *fields):
        rows = messages[int(frame)]
        if len(rows) != 1 or (rosctr, function) not in (("3", "0x04"), ("1", "0x05")):
            continue
        assert rows[0]["kind"] in (READ_ANSWER, WRITE_JOB)
        mine = packed(points[int(frame)])
        if not mine and (rows[0]["point"] < 0 or rows[0]["flags"] & np.uint32(Flag.UNANSWERED)):
            continue  # another way of addressing, or nobody saw what was asked for
        assert mine == data.replace(";", ""), f"frame {frame}"
        compared += 1
    assert compared or "clean" not in path.name


@pytest.mark.parametrize("path", corpus("protocols/iec104*"))
def test_time_tags_are_the_times_that_tshark_prints(path: Path) -> None:
    messages, points = native(path, "iec104")
    fields = ("typeid", "cp56time", "cp56time.iv", "cp56time.su", "cp56time.year")
    compared = 0
    for frame, kind, times, invalid, summer, year in shown(
        path, "iec60870_asdu.cp56time", "frame.number", *(f"iec60870_asdu.{name}" for name in fields)
    ):
        if len(messages[int(frame)]) != 1 or kind == "103":
            continue
        mine = [point for point in points[int(frame)] if point["kind"] & TIME_TAG]
        told = [
            (_epoch(time) + 3_600 * int(su), 0x80 * int(iv) | 0x40 * int(su))
            for time, iv, su, number in zip(
                *(x.split(";") for x in (times, invalid, summer, year)), strict=True
            )
            if int(number) <= 99
        ]
        ours = [(float(p["value"]), int(p["quality"])) for p in mine if not np.isnan(p["value"])]
        assert [(round(value, 3), quality) for value, quality in ours] == told, f"frame {frame}"
        compared += len(mine)
    assert compared > 0 or path.name == "iec104__iec104.pcap"  # in which several messages share each frame


def _epoch(text: str) -> float:
    """``Jul  4, 2013 08:23:04.145000000 UTC`` as seconds."""
    clock, _, fraction = text.removesuffix(" UTC").rpartition(".")
    moment = datetime.strptime(f"{clock} +0000", "%b %d, %Y %H:%M:%S %z")
    return round(moment.timestamp() + int(fraction) / 1e9, 3)

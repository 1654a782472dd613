"""Native against tshark on the process bus: sampled values, on made-up traffic (no real capture at hand).

Differences that may remain, with who is right:

- ``sv``: tshark gives a row for each frame, the native engine one for the first frame of a stream, for each
  event and for each second (docs/messages.md). Both are right; the columns of a row that both have are equal,
  but for ``kind`` and, in rows of events, ``aux`` and ``value``, which say what happened. Points: native.
- ``sv`` TEST: tshark sees the simulation bit only; the test bit of the samples' quality is native's.
  MALFORMED: the native engine holds noASDU and lengths against every frame; tshark marks what it cannot
  dissect.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.generate import write_process_bus
from grid_profiles.vocabulary import Flag
from sensor.capture.pcapwrite import write_pcap
from sensor.engines import open_engine
from sensor.table import message_table
from sensor.track.state import SV
from tests.lab.bus import sv_asdu, sv_data, sv_frame, sv_pdu, sv_wave
from tests.reference.run import Shot, frame_batch

pytestmark = [pytest.mark.tshark, pytest.mark.skipif(not shutil.which("tshark"), reason="no tshark here")]

REDUCED = {"kind", "kind_name", "class", "aux", "value", "flags"}


def rows(path: Path, engine: str, proto: int) -> pd.DataFrame:
    """Messages of one protocol, names resolved."""
    run = open_engine([path], engine)
    parts = []
    for batch in run:
        own = batch.messages[batch.messages["proto"] == proto]
        table = message_table(own, run.names)
        table["bits"] = own["flags"].astype(np.int64)
        parts.append(table)
    return pd.concat(parts, ignore_index=True)


def differing(native: pd.DataFrame, tshark: pd.DataFrame, columns: list[str]) -> str:
    """The first rows that differ, column by column; "" none."""
    for column in columns:
        first, second = native[column].reset_index(drop=True), tshark[column].reset_index(drop=True)
        equal = (first == second).fillna(False).to_numpy(bool) | (first.isna() & second.isna()).to_numpy()
        if not equal.all():
            place = np.flatnonzero(~equal)[:5]
            told = [(int(native["frame"].iloc[i]), first[i], second[i]) for i in place]
            return f"{column}: {int((~equal).sum())} rows differ; (frame, native, tshark): {told}"
    return ""


def sv_rows_agree(path: Path) -> pd.DataFrame:
    """Compare, and return the native rows."""
    native, tshark = rows(path, "native", SV), rows(path, "tshark", SV)
    assert tshark["frame"].is_unique
    told = native[native["kind"] != 2].drop_duplicates("frame")
    theirs = tshark.set_index("frame").loc[told["frame"]].reset_index()
    columns = [name for name in told.columns if name not in REDUCED | {"bits"}]
    assert not differing(told, theirs, columns)
    first = (told["kind"] == 1).to_numpy()
    whole = first & (told["bits"] == 0).to_numpy()
    assert not differing(told[whole], theirs[whole], sorted(REDUCED))
    only = (theirs["bits"].to_numpy() & ~told["bits"].to_numpy()) & int(Flag.TEST | Flag.MALFORMED)
    assert not only.any()
    return native


def test_sampled_values_of_a_process_bus(tmp_path: Path) -> None:
    path = tmp_path / "bus.pcap"
    write_process_bus(path, 30_000, units=3, publishers=2)
    native = sv_rows_agree(path)
    assert native["kind"].value_counts().to_dict() == {1: 3, 2: 6}


def test_sampled_values_with_events(tmp_path: Path) -> None:
    def frame(count: int, asdus: int = 1, **more: object) -> bytes:
        numbers = range(count, count + asdus)
        parts = [sv_asdu(n, sv_data(sv_wave(n)), **more) for n in numbers]  # type: ignore[arg-type]
        return sv_frame(sv_pdu(parts), vlan=3)

    frames = [
        frame(0, dataset="MU01LD0/LLN0$PhsMeas1", rate=4000),
        *(frame(count) for count in (1, 5, 5, 4)),
        frame(5, synch=0),
        frame(6, revision=99, synch=0),
        frame(7, 2, revision=99),
        frame(9, 2),
        frame(3, sv_id="other", rate=80),
        sv_frame(sv_pdu([sv_asdu(10, b"")]), simulation=True, src="02:00:00:00:00:66"),
    ]
    path = tmp_path / "events.pcap"
    write_pcap(path, frame_batch([Shot(10**18 + place * 1000, data) for place, data in enumerate(frames)]))
    native = sv_rows_agree(path)
    assert set(native["kind"]) == {1, 3, 4, 5, 6, 7}

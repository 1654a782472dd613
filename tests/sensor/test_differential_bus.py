"""Native against tshark on the process bus: sampled values, PTP, redundancy; mostly on made-up traffic.

Differences that may remain, with who is right:

- ``sv``: tshark gives a row for each frame, the native engine one for the first frame of a stream, for each
  event and for each second (docs/messages.md). Both are right; the columns of a row that both have are equal,
  but for ``kind`` and, in rows of events, ``aux`` and ``value``, which say what happened. Points: native.
- ``sv`` TEST: tshark sees the simulation bit only; the test bit of the samples' quality is native's.
  MALFORMED: the native engine holds noASDU and lengths against every frame; tshark marks what it cannot
  dissect.
- ``ptp`` value: tshark shows a negative correction as a number near 2**64. Native is right.
- ``ptp`` MALFORMED: the native engine knows the least size of each kind. A management message whose TLV is of
  no known type: tshark gives no row.
- ``prp_supervision`` MALFORMED: an address of neither 6 nor 12 octets is native's only.
- The second copy of a frame in PRP and HSR: tshark decodes it, the native engine does not. Native is right:
  the receiver drops it too.
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
from sensor.track.state import PRP_SUPERVISION, PTP, SV
from tests.lab import bus as b
from tests.lab import frames as f
from tests.lab.bus import sv_asdu, sv_data, sv_frame, sv_pdu, sv_wave
from tests.reference.run import Shot, frame_batch
from tests.sensor.test_differential import corpus

pytestmark = [pytest.mark.tshark, pytest.mark.skipif(not shutil.which("tshark"), reason="no tshark here")]

REDUCED = {"kind", "kind_name", "class", "aux", "value", "flags"}


def rows(path: Path, engine: str, proto: int) -> pd.DataFrame:
    """Messages of one protocol, names resolved."""
    run = open_engine([path], engine, copies="keep")
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


def test_ptp_and_supervision_on_made_up_frames(tmp_path: Path) -> None:
    """All columns; the copies of PRP and HSR are told apart by their numbers."""
    frames = [
        b.ptp_frame(b.ptp(b.SYNC, domain=3, seq=65_535, correction=9 * 65_536 + 7)),
        b.ptp_frame(b.ptp(b.FOLLOW_UP, version=0x12), vlan=7),
        *(b.ptp_frame(b.ptp(kind, bytes(b.PTP_BODY[kind]))) for kind in (1, 2, 3, 9, 10, 12)),
        b.ptp_frame(b.ptp(b.ANNOUNCE, b.ptp_announce(clock_class=248, priority1=1, steps=3))),
        b.ptp_frame(b.ptp(b.MANAGEMENT, b.ptp_management(0, 0x2005))),
        b.ptp_frame(b.ptp(b.MANAGEMENT, b.ptp_management(1, 0x2005, b"\x80\0"))),
        b.ptp_frame(b.ptp(b.MANAGEMENT, b.ptp_management(3, 1, bytes(8), tlv=2))),
        b.ptp_frame(b.ptp(5, bytes(10))),
        b.ptp_frame(b.ptp(b.SYNC, length=20)),
        b.ptp_frame(b.ptp(b.SYNC, length=2000)),
        f.udp_frame("10.0.0.1", "224.0.1.129", 319, 319, b.ptp(b.DELAY_REQ)),
        f.udp_frame("10.0.0.1", "224.0.1.129", 50_000, 320, b.ptp(b.DELAY_RESP)),
        f.udp_frame("fe80::1", "fe80::2", 320, 50_000, b.ptp(b.DELAY_RESP), vlans=(4,)),
        f.udp_frame("10.0.0.1", "10.0.0.2", 320, 50_000, b.ptp(b.DELAY_RESP)[:30]),
        b.ptp_frame(b.ptp(b.ANNOUNCE, b.ptp_announce()))[:-4],
        b.prp_supervision(5),
        b.prp_supervision(6, 23, bytes.fromhex("020000000011020000000012")),
        b.prp_supervision(0, version=0),
        b.prp_supervision(12, 21, more=b"\x1e\6\2\0\0\0\0\x99\0\0"),
        b.prp_supervision(11, 30),
        b.prp_supervision(7, more=b"")[:20],
        b.with_trailer(b.prp_supervision(8), 99),
        b.with_hsr(b.prp_supervision(9, 23), 77, 1),
        b.with_hsr(b.ptp_frame(b.ptp(b.SYNC)), 5),
        b.with_trailer(b.ptp_frame(b.ptp(b.SYNC)), 6),
    ]
    path = tmp_path / "made_up.pcap"
    write_pcap(path, frame_batch([Shot(10**18 + place * 10**9, data) for place, data in enumerate(frames)]))
    agree(path, PTP)
    agree(path, PRP_SUPERVISION)


@pytest.mark.parametrize("path", corpus("protocols/ptp*"))
def test_ptp_on_real_captures(path: Path) -> None:
    agree(path, PTP)


def agree(path: Path, proto: int) -> None:
    """All columns but the flags that only one side keeps."""
    native, tshark = rows(path, "native", proto), rows(path, "tshark", proto)
    assert len(native)
    assert list(native["frame"]) == list(tshark["frame"])
    assert not differing(native, tshark, [name for name in native.columns if name not in ("flags", "bits")])
    only = tshark["bits"].to_numpy() & ~native["bits"].to_numpy()
    assert not only.any()

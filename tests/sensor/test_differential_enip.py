"""Native against tshark for EtherNet/IP and CIP, all columns, on real captures and every exchange of the lab.

Every difference that may remain is named here, with who is right; anything else fails the test.

- MALFORMED and the state of TCP connections: as in ``test_differential``. UNANSWERED is native's.
- CIP ``size``: the service's own octets natively; tshark's is the payload of the frame, shared among its
  services. Native is right.
- CIP ``state``, ``value`` and points, the ``name`` of a forward open, the ``aux`` of a forward close and of
  an I/O packet: natively only. Native knows more.
- CIP ``point`` of a path that names one object inside another (``0x68/0x2420/0x6b/0x0005``): tshark's
  fields hold the classes and instances of all of them, and the profile takes the last of each, which need not
  belong together. Of a tag with members (``Program:Main.Valve[3,4]``) they give the first name only, of a
  symbolic segment (0x61 to 0x7F) none. Native is right.
- Of several PDUs in a datagram tshark reads the first. Native is right.
- CIP ``point`` of a refused list of attributes: tshark has no attribute, the native engine the request's.
- What an answer takes from its request, where it was sent again, came late, or its request did or was lost:
  tshark joins in a second pass, and with the request of the same number that came first. Neither is wrong.
- ``state``: tshark takes the last of a request that was sent again, the native engine the first.
- Service 0x52 is unconnected send for one object and read tag fragmented for another: where a routed read of
  a fragment is answered, tshark's profile takes the answer for the router's. Native is right.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from grid_profiles.vocabulary import Flag
from sensor.capture.pcapwrite import write_pcap
from tests.fuzz.enip import enip_frames
from tests.reference.run import frame_batch, shots
from tests.sensor.differential import decoded, equal, lossy_streams, sent_again
from tests.sensor.test_differential import MASK, corpus

pytestmark = [pytest.mark.tshark, pytest.mark.skipif(not shutil.which("tshark"), reason="no tshark here")]

PROTOCOLS = ("enip", "cip")
APART = int(Flag.RETRANSMITTED | Flag.LATE | Flag.UNANSWERED)
JOINED = {"state", "kind", "kind_name", "class", "point", "name", "value"}
NATIVE_ONLY = {"flags", "bits", "file"}


def tables(path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of both engines in the same order: in a frame, one protocol after the other."""
    both = []
    for engine in ("native", "tshark"):
        rows = decoded(path, engine, PROTOCOLS)[0]
        both.append(rows.sort_values(["frame", "protocol"], kind="stable").reset_index(drop=True))
    return both[0], both[1]


def same(first: pd.Series, second: pd.Series) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return equal(first, second)


def told(column: str, native: pd.DataFrame, tshark: pd.DataFrame, wrong: Any) -> str:
    rows = np.flatnonzero(wrong)[:8]
    pairs = [(native["frame"][i], native["kind"][i], native[column][i], tshark[column][i]) for i in rows]
    return f"{column}: {int(np.sum(wrong))} rows differ; (frame, kind, native, tshark): {pairs}"


def explained(column: str, native: pd.DataFrame, tshark: pd.DataFrame) -> Any:
    """Rows in which a column may differ, for the reasons above."""
    cip = (native["protocol"] == "cip").to_numpy()
    answers = (native["role"] == "server").to_numpy()
    apart = answers & (native["bits"] & APART != 0).to_numpy()
    if column in JOINED and apart.any():
        return apart | explained(column, native.assign(bits=0), tshark)
    fragment = cip & answers & (native["kind"] == 82).to_numpy() & (tshark["kind"] == 1618).to_numpy()
    if column in ("state", "value"):
        earlier = (native["state"] < tshark["state"]).fillna(False).to_numpy(bool) & (column == "state")
        return (cip & tshark[column].isna().to_numpy()) | earlier
    if column == "aux":
        closed = cip & answers & (native["kind"] == 1614).to_numpy()
        return (closed | (native["kind"] == 65_536).to_numpy()) & tshark[column].isna().to_numpy()
    if column == "size":
        return cip
    if column == "point":
        nested = native["point"].str.count("0x").to_numpy() > 2
        members = (native["name"].str.contains(r"[.\[]") | (native["name"] == "Plain")).to_numpy()
        refused = answers & (native["cause"] > 0).fillna(False).to_numpy()
        return cip & (nested | members | refused) | fragment
    if column == "name":
        opened = native["kind"].isin((1620, 1627)).to_numpy() & (tshark["name"] == "").to_numpy()
        return cip & (
            opened | (native["name"].str.contains(r"[.\[]") | (native["name"] == "Plain")).to_numpy()
        )
    if column in ("kind", "kind_name", "class"):
        return fragment
    return np.zeros(len(native), bool)


def behind_the_first(native: pd.DataFrame, tshark: pd.DataFrame) -> Any:
    """Rows of PDUs in datagrams of which tshark has one row: it saw a list, which TCP does not carry here."""
    alone = tshark.groupby("frame")["kind"].agg(["size", "first"])
    lists = alone.index[(alone["size"] == 1) & alone["first"].isin((4, 99))]
    return (native["frame"].isin(lists) & native["frame"].duplicated()).to_numpy()


def compare(path: Path) -> pd.DataFrame:
    native, tshark = tables(path)
    native = native[~behind_the_first(native, tshark)].reset_index(drop=True)
    again = sent_again(path) if len(native) != len(tshark) else set()
    native, tshark = (t[~t["frame"].isin(again)].reset_index(drop=True) for t in (native, tshark))
    counts = pd.concat([table.groupby(["frame", "protocol"]).size() for table in (native, tshark)], axis=1)
    assert (counts[0] == counts[1]).all(), counts[counts[0] != counts[1]]
    for column in [name for name in native.columns if name not in NATIVE_ONLY]:
        wrong = ~same(native[column], tshark[column]) & ~explained(column, native, tshark)
        if wrong.any() and column in JOINED and lossy_streams(path):
            wrong &= ~(native["role"] == "server").to_numpy()
        assert not wrong.any(), told(column, native, tshark, wrong)
    flags = (native["bits"] & MASK) != (tshark["bits"] & MASK)
    assert not flags.any(), told("flags", native, tshark, flags)
    only_tshark = (tshark["bits"] & ~native["bits"]) & int(Flag.MALFORMED) != 0
    assert not only_tshark.any(), told("flags", native, tshark, only_tshark)
    return native


@pytest.mark.parametrize("path", corpus("protocols/enip__*"))
def test_native_and_tshark_give_the_same_rows(path: Path) -> None:
    assert len(compare(path))


def test_every_exchange_of_the_lab(tmp_path: Path) -> None:
    path = tmp_path / "lab.pcap"
    write_pcap(path, frame_batch(shots(enip_frames())))
    native = compare(path)
    assert {"enip", "cip"} == set(native["protocol"])

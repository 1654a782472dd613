"""Native against tshark for the protocols of every network, PROFINET and what tunnels carry, all columns.

Every difference that may remain is named here, with who is right; anything else fails the test.

- MALFORMED: the native engine holds lengths and counts of the standards against every message; tshark marks
  only what it cannot dissect. Native is stricter. tshark also looks into what the profile does not ask for
  (alarms of PROFINET, records of DNS answers) and marks what it does not like there.
- RETRANSMITTED, GAP, MIDSTREAM, REASSEMBLED: state of a TCP connection, which only the native engine keeps.
- ICMP errors: tshark gives the quoted datagram's messages rows of their own and the error no size. A quoted
  message was not sent again: native is right.
- The size of a DNS message over TCP: tshark's is a share of its last segment. Native is right.
- What stands on Ethernet in VXLAN: tshark's ports are the tunnel's, and its size of what has no length of
  its own is the datagram, natively the outer frame. Natively the ports are right.
- ARP: tshark shows no target address of an operation 7. Neither is wrong.
- TLS: tshark has a row without a kind for a frame in which a record begins and does not end. On the port of
  an industrial protocol it reads TLS as that protocol, malformed. Where a capture misses more than a window,
  the native engine wants a second segment before it believes the new place. Native is right. ``ident``, the
  subject of a certificate, is native's only.
- SNMP: a negative request id is missing in the native engine's rows.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from grid_profiles.loader import NATIVE_IDS
from sensor.engines import open_engine
from sensor.table import message_table
from tests.fuzz import base
from tests.lab.frames import Stamped, write_pcap
from tests.sensor.differential import found
from tests.sensor.test_differential import MASK, check_flags, corpus, difference, same

pytestmark = [pytest.mark.tshark, pytest.mark.skipif(not shutil.which("tshark"), reason="no tshark here")]

SMALL = ("arp", "icmp", "icmpv6", "igmp", "dns", "mdns", "llmnr", "ntp", "snmp")
PROFINET = ("profinet_rt", "profinet_dcp")
BUILT: dict[str, Callable[[], list[Stamped]]] = {
    "arp": base.arp_frames,
    "icmp": base.icmp_frames,
    "dns": base.dns_frames,
    "ntp": base.ntp_frames,
    "profinet": base.profinet_frames,
    "snmp": base.snmp_frames,
    "tunnel": base.tunnel_frames,
}
PATTERNS = ("bg-arp*", "bg-dns*", "bg-ntp*", "bg-snmp*", "profinet*", "hartip*", "synphasor*unclean*")
TLS_PATTERNS = ("bg-tls*", "hartip*", "mqtt__mqtt-events*", "modbus__*and-non-modbus*")
TLS_CAPTURES = [found for pattern in TLS_PATTERNS for found in corpus(f"protocols/{pattern}")]
CAPTURES = [found for pattern in PATTERNS for found in corpus(f"protocols/{pattern}")]
ERRORS = (3, 4, 5, 11, 12)


def decoded(path: Path, engine: str, protocols: tuple[str, ...]) -> pd.DataFrame:
    """Messages of these protocols, names resolved."""
    run = open_engine([path], engine, copies="keep")
    ids = [NATIVE_IDS[name] for name in protocols]
    parts = []
    for batch in run:
        rows = batch.messages[np.isin(batch.messages["proto"], ids)]
        table = message_table(rows, run.names)
        table["bits"] = rows["flags"].astype(np.int64)
        table["stream"] = rows["stream"]
        parts.append(table)
    return pd.concat(parts, ignore_index=True)


def compare(path: Path, protocols: tuple[str, ...] = SMALL + PROFINET) -> int:
    """Number of messages, all of them equal but for what is named above."""
    native, tshark = decoded(path, "native", protocols), decoded(path, "tshark", protocols)
    errors = native.loc[(native["protocol"] == "icmp") & native["kind"].isin(ERRORS), "frame"]
    repeated = tshark["frame"].isin(errors) & (tshark["frame"].duplicated() | (tshark["protocol"] != "icmp"))
    tshark = tshark[~repeated].reset_index(drop=True)
    assert len(native) == len(tshark)
    for column in set(native.columns) - {"flags", "bits"}:
        wrong = ~same(native[column], tshark[column])
        if column == "size":
            wrong &= ~(native["frame"].isin(errors) | (native["stream"] >= 0)).to_numpy()
        if column in ("size", "port") and wrong.any():
            wrong &= ~native["frame"].isin(found(path, "vxlan")).to_numpy()
        assert not wrong.any(), difference(column, native, tshark, wrong)
    check_flags(native, tshark)
    return len(native)


@pytest.mark.parametrize("path", CAPTURES)
def test_captures(path: Path) -> None:
    compare(path)


@pytest.mark.parametrize("name", BUILT)
def test_what_is_built_here(name: str, tmp_path: Path) -> None:
    frames = BUILT[name]()
    write_pcap(tmp_path / "built.pcap", frames)
    assert compare(tmp_path / "built.pcap") >= len(frames) // 2


def compare_tls(path: Path) -> tuple[int, set[int]]:
    """Number of records that both have, and frames whose records only one has."""
    native, tshark = decoded(path, "native", ("tls",)), decoded(path, "tshark", ("tls",))
    tshark = tshark[tshark["kind"] >= 0]
    mine, theirs = native["frame"].value_counts(), tshark["frame"].value_counts()
    differing = {int(f) for f in {*mine.index, *theirs.index} if mine.get(f, 0) != theirs.get(f, 0)}
    native, tshark = (table[~table["frame"].isin(differing)].reset_index() for table in (native, tshark))
    for column in set(native.columns) - {"flags", "bits", "index"}:
        wrong = ~same(native[column], tshark[column])
        if column == "ident":
            wrong &= ~(native["kind"].isin((258, 267)) & (tshark["ident"] == "")).to_numpy()
        assert not wrong.any(), difference(column, native, tshark, wrong)
    mine, theirs = native["bits"] & MASK, tshark["bits"] & MASK
    assert (mine == theirs).all(), difference("bits", native, tshark, (mine != theirs).to_numpy())
    return len(native), differing


@pytest.mark.parametrize("path", TLS_CAPTURES)
def test_tls_captures(path: Path) -> None:
    same_rows, differing = compare_tls(path)
    assert same_rows
    assert not differing or "tls-appdata" in path.name


def test_tls_built_here(tmp_path: Path) -> None:
    frames = base.tls_frames()
    write_pcap(tmp_path / "built.pcap", frames)
    same_rows, differing = compare_tls(tmp_path / "built.pcap")
    on_2404 = {place for place, (_, data) in enumerate(frames, 1) if b"\x09\x64" in data[34:38]}
    assert same_rows > 30
    assert differing
    assert differing <= on_2404

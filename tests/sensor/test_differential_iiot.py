"""Native against tshark for protocols of industrial IoT, all columns: the corpus, and talks built here.

Every difference that may remain is named here, with who is right; anything else fails the test.

- MALFORMED: the native engine holds lengths, reserved bits and limits of the standards against every message;
  tshark marks only what it cannot dissect. Native is stricter.
- RETRANSMITTED, GAP, MIDSTREAM, REASSEMBLED: state of a TCP connection, which only the native engine keeps.
- Connections of which the capture lacks bytes: tshark has no row for what it waits for. Native is right.
- A message of more than 16 KiB: the native engine reads its head, and its row stands where the head was
  complete; tshark's row stands where the message ends. The value of such a message is only tshark's.
- MQTT: a topic alias holds for one direction (5.0, 3.3.2.3.4), for tshark in both. Without CONNECT the native
  engine learns the version from CONNACK or from what fits a SUBSCRIBE, tshark does not. Native is right. A
  payload that is empty has a point of tshark's only where several messages share a frame. Neither is wrong.
- OPC UA: tshark 4.0 reads what is encrypted as if it were not, so that sequence number, request id and now
  and then a service are ciphertext; the native engine knows the channel from its opening. tshark names a
  string, then a GUID, before a number, the native engine the first node there is. A user name inside a value
  is none of the session's. An aborted message has its error natively only. Native is right.
  Values are the native engine's only.
- CoAP: values are the native engine's only. tshark calls an option malformed whose number it does not know;
  the standard does not (RFC 7252 5.4.1). A token used again keeps its first path for tshark, which also reads
  paths as ASCII and ports of more than two octets as 4294967295, gives payloads in blocks their whole length
  with the last block, and over TCP reads only the first message of a segment. Native is right.
- BACnet: points and priorities of writes are the native engine's only. Of a message in segments the native
  engine reads the first, tshark all of them with the last. For each entry of a broadcast or foreign device
  table tshark has one more row without a kind. Native is right.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from grid_profiles.loader import NATIVE_IDS
from grid_profiles.vocabulary import Flag
from sensor.engines import open_engine
from sensor.table import message_table
from sensor.track.streams import SLOT
from tests.fuzz.iiot import bacnet_frames, coap_frames, mqtt_frames, opcua_frames
from tests.lab.frames import Stamped, write_pcap
from tests.sensor.differential import lossy_streams, unfinished
from tests.sensor.test_differential import MASK, corpus, same

pytestmark = [pytest.mark.tshark, pytest.mark.skipif(not shutil.which("tshark"), reason="no tshark here")]

PROTOCOLS = ("mqtt", "opcua", "coap", "bacnet")
IDS = [NATIVE_IDS[name] for name in PROTOCOLS]
BUILT: dict[str, Callable[[], list[Stamped]]] = {
    "mqtt": mqtt_frames,
    "opcua": opcua_frames,
    "coap": coap_frames,
    "bacnet": bacnet_frames,
}
CAPTURES = [found for name in PROTOCOLS for found in corpus(f"protocols/{name}*")]


def decoded(path: Path, engine: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Messages and points of these protocols, names resolved, by connection and direction."""
    run = open_engine([path], engine, copies="keep")
    messages, points = [], []
    for batch in run:
        rows = batch.messages[np.isin(batch.messages["proto"], IDS)]
        table = message_table(rows, run.names)
        table["bits"] = rows["flags"].astype(np.int64)
        table["stream"] = rows["stream"]
        messages.append(table)
        own = batch.points[np.isin(batch.points["proto"], IDS)]
        columns: dict[str, Any] = {name: own[name] for name in ("frame", "kind", "value", "quality")}
        columns["protocol"] = [run.names.protocol(int(p)) for p in own["proto"]]
        columns["point"] = [
            run.names.point(int(p), int(x)) for p, x in zip(own["proto"], own["point"], strict=True)
        ]
        parents = batch.messages[own["message"]]
        columns |= {"stream": parents["stream"], "role": parents["role"], "size": parents["size"]}
        points.append(pd.DataFrame(columns))
    tables = (pd.concat(messages, ignore_index=True), pd.concat(points, ignore_index=True))
    first, second = (
        table.sort_values(["stream", "role"], kind="stable", ignore_index=True) for table in tables
    )
    return first, second


def check(native: pd.DataFrame, tshark: pd.DataFrame) -> None:
    """Every column of every row."""
    assert len(native) == len(tshark)
    long = (native["size"] > SLOT).to_numpy()
    for column in set(native.columns) - {"flags", "bits"}:
        wrong = ~same(native[column], tshark[column])
        if column in ("frame", "ts", "time", "value"):
            wrong &= ~long
        if "bits" in native:
            wrong &= ~better(column, native, tshark)
        assert not wrong.any(), told(column, native, tshark, wrong)


def better(column: str, native: pd.DataFrame, tshark: pd.DataFrame) -> Any:
    """Rows in which the native engine is known to say more or less, and to be right."""
    opcua = native["protocol"] == "opcua"
    secret = opcua & (native["bits"] & int(Flag.ENCRYPTED) != 0)
    if column == "state":
        return secret | ((native["protocol"] == "bacnet") & tshark["state"].isna())
    if column in ("kind", "kind_name", "class", "seq"):
        return secret
    if column == "ident":
        return opcua & (native["kind"] == 634)
    coap = native["protocol"] == "coap"
    if column == "value":
        return (coap | opcua) & tshark["value"].isna()
    if column in ("point", "name") and (tshark[column] == ":4294967295").any():
        return coap
    if column in ("point", "name"):
        return opcua & native["point"].str.startswith("i=") & (tshark["point"] != "")
    return np.zeros(len(native), bool)


def check_flags(native: pd.DataFrame, tshark: pd.DataFrame) -> None:
    secret = native["bits"] & int(Flag.ENCRYPTED)
    mine, theirs = native["bits"] & MASK, (tshark["bits"] & MASK) | secret
    assert (mine == theirs).all(), told("bits", native, tshark, (mine != theirs).to_numpy())
    bad = int(Flag.MALFORMED)
    lax = (tshark["bits"] & bad != 0) & (native["bits"] & bad == 0) & (secret == 0)
    lax &= native["protocol"] != "coap"
    assert not lax.any(), told("bits", native, tshark, lax.to_numpy())


def told(column: str, native: pd.DataFrame, tshark: pd.DataFrame, wrong: Any) -> str:
    """The first few rows that differ."""
    rows = np.flatnonzero(wrong)[:5]
    pairs = [(native["frame"][i], native[column][i], tshark[column][i]) for i in rows]
    return f"{column}: {int(np.sum(wrong))} rows differ; (frame, native, tshark): {pairs}"


def compare(path: Path) -> int:
    """Number of messages, all of them equal but for what is named above."""
    tables = [*decoded(path, "native"), *decoded(path, "tshark")]
    if len(tables[0]) != len(tables[2]):
        lossy = lossy_streams(path)
        tables = [table[~table["stream"].isin(lossy)].reset_index(drop=True) for table in tables]
        cut = unfinished(tables[0][tables[0]["size"] > SLOT], tables[2][tables[2]["size"] > SLOT])
        tables = [table[~table["frame"].isin(cut)].reset_index(drop=True) for table in tables]
    native, native_points, tshark, tshark_points = tables
    check(native, tshark)
    check_flags(native, tshark)
    check(
        native_points[~native_points["protocol"].isin(["coap", "bacnet", "opcua"])].reset_index(drop=True),
        tshark_points,
    )
    return len(native)


@pytest.mark.parametrize("path", CAPTURES)
def test_captures(path: Path) -> None:
    assert compare(path)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_what_is_built_here(name: str, tmp_path: Path) -> None:
    frames = BUILT[name]()
    write_pcap(tmp_path / "built.pcap", frames)
    assert compare(tmp_path / "built.pcap") >= len(frames) // 3

"""Native against tshark for HTTP, all columns: captures, what is built here, and real programs over a socket.

Every difference that may remain is named here, with who is right; anything else fails the test.

- ``frame``, ``time``: tshark gives a message a row when its body is complete, the native engine when its
  header section is. Both keep the order of a direction. Native is right: it does not wait for bodies.
- ``size``: tshark's is a share of the last segment. Native is header section and Content-Length.
- ``point``, ``name``: tshark 4.0 tells the path of a request only when a query follows. Native is right. A
  response's name, and ``state``, its request, are native's only.
- MALFORMED: the native engine holds RFC 9112 against a message. Native is stricter.
- RETRANSMITTED, GAP, MIDSTREAM, REASSEMBLED, UNANSWERED: state of a connection, which only the native engine
  keeps.
- Connections of which the capture lacks bytes, or that it leaves within a message: tshark has no row for what
  it waits for. Native is right.
- Frames in which no message begins: a row without a kind from tshark, none natively.
- On a port that another protocol owns the native engine has a row for each header section in one segment.
"""

from __future__ import annotations

import http.client
import shutil
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest

from tests.fuzz.web import http_frames
from tests.lab.frames import Stamped, Talk, write_pcap
from tests.sensor.differential import lossy_streams, unfinished
from tests.sensor.test_differential import check_flags, corpus, difference, same
from tests.sensor.test_differential_base import decoded

pytestmark = [pytest.mark.tshark, pytest.mark.skipif(not shutil.which("tshark"), reason="no tshark here")]

PATTERNS = ("bg-http*", "modbus__*and-non-modbus*", "mqtt__mqtt-events*", "synphasor*unclean*")
CAPTURES = [found for pattern in PATTERNS for found in corpus(f"protocols/{pattern}")]
NAMED = {"frame", "time", "ts", "size", "point", "name", "state", "flags", "bits", "stream"}


def compare(path: Path) -> int:
    """Number of messages, all of them equal but for what is named above."""
    native, tshark = decoded(path, "native", ("http",)), decoded(path, "tshark", ("http",))
    tshark = tshark[tshark["kind"] >= 0]
    if len(native) != len(tshark):
        lossy = lossy_streams(path)
        native, tshark = (table[~table["stream"].isin(lossy)] for table in (native, tshark))
        native = native[~native["frame"].isin(unfinished(native, tshark))]
    order = ["src", "dst", "stream"]
    native, tshark = (
        table.sort_values(order, kind="stable").reset_index(drop=True) for table in (native, tshark)
    )
    assert len(native) == len(tshark), f"native {list(native['frame'])}, tshark {list(tshark['frame'])}"
    for column in set(native.columns) - NAMED:
        wrong = ~same(native[column], tshark[column])
        assert not wrong.any(), difference(column, native, tshark, wrong)
    assert (native["frame"] <= tshark["frame"]).all()
    check_names(native, tshark)
    check_flags(native, tshark)
    return len(native)


def check_names(native: pd.DataFrame, tshark: pd.DataFrame) -> None:
    """Where tshark tells a path or a name of a request, native tells it too."""
    asks = native["role"] == "client"
    assert (native.loc[asks, "point"] != "").all()
    assert (native.loc[~asks, "point"] == "").all()
    told = asks & (tshark["point"] != "")
    for column in ("point", "name"):
        wrong = told & (native[column] != tshark[column])
        assert not wrong.any(), difference(column, native, tshark, wrong.to_numpy())
    for mine, theirs in zip(native.loc[asks & ~told, "name"], tshark.loc[asks & ~told, "name"], strict=True):
        assert mine.startswith(theirs)
    frames = dict(zip(native["frame"], native["name"], strict=True))
    for answer in native[~asks & native["state"].notna()].itertuples():
        assert answer.state in frames, answer


@pytest.mark.parametrize("path", CAPTURES)
def test_captures(path: Path) -> None:
    assert compare(path)


def test_what_is_built_here(tmp_path: Path) -> None:
    write_pcap(tmp_path / "built.pcap", http_frames())
    assert compare(tmp_path / "built.pcap") > 70


class Pages(BaseHTTPRequestHandler):
    """A small web server with every way to say how long a body is."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """A page with a length, in chunks, until the end, not changed, or not there."""
        if self.path.startswith("/chunks"):
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for size in (1, 700, 5000, 40_000):
                self.wfile.write(b"%x\r\n%s\r\n" % (size, b"c" * size))
            self.wfile.write(b"0\r\n\r\n")
        elif self.path.startswith("/close"):
            self.send_response(200)
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(b"until the end " * 3000)
            self.close_connection = True
        elif self.path.startswith("/same"):
            self.send_response(304)
            self.end_headers()
        else:
            self._page(404 if self.path.startswith("/none") else 200, b"p" * 30_000)

    def do_HEAD(self) -> None:
        """The header section of a page."""
        self._page(200, b"p" * 30_000)

    def do_POST(self) -> None:
        """Take what is sent."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self._page(201, b"")

    def _page(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class Recorder:
    """Stands between a client and a server and keeps what passes, in order."""

    def __init__(self, server: int) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.passed: list[list[tuple[int, bytes]]] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._server))
            passed: list[tuple[int, bytes]] = []
            self.passed.append(passed)
            for side, source, sink in ((0, client, server), (1, server, client)):
                threading.Thread(target=self._pump, args=(side, source, sink, passed), daemon=True).start()

    @staticmethod
    def _pump(side: int, source: socket.socket, sink: socket.socket, passed: list[tuple[int, bytes]]) -> None:
        while data := source.recv(1400):
            passed.append((side, data))
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()


@pytest.fixture
def recorded() -> Iterator[list[Stamped]]:
    """Frames of what Python's client and server said to each other."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    recorder = Recorder(server.server_address[1])
    for paths in (("/a?b=c", "/chunks", "/same", "/none", "/chunks?2", "/last"), ("/close",)):
        client = http.client.HTTPConnection("127.0.0.1", recorder.port, timeout=20)
        for path in paths:
            client.request("GET", path, headers={"User-Agent": "http.client"})
            client.getresponse().read()
            if path != "/close":
                client.request("HEAD", path)
                client.getresponse().read()
                client.request("POST", path, body=b"x" * 3000)
                client.getresponse().read()
        client.close()
    frames: list[Stamped] = []
    for number, passed in enumerate(recorder.passed):
        talk = Talk("10.0.0.1", "10.0.0.2", 80, 40000 + number)
        talk.open(0)
        for ts, (side, data) in enumerate(passed, 1):
            (talk.server if side else talk.client)(ts * 1_000_000, data)
        talk.close(10**12)
        frames += talk.frames
    yield frames
    recorder.close()
    server.shutdown()
    server.server_close()


def test_real_client_and_server(recorded: list[Stamped], tmp_path: Path) -> None:
    write_pcap(tmp_path / "real.pcap", recorded)
    assert compare(tmp_path / "real.pcap") == 2 * (6 * 3 + 1)

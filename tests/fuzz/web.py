"""Good frames of HTTP: seeds for spoiling, and connections for the differential test."""

from __future__ import annotations

from tests.lab import frames as f
from tests.lab import http as h

CLIENT, SERVER = "10.0.0.1", "10.0.0.2"
MS = 1_000_000
AGENT = ("User-Agent", "curl/8.1")

EXCHANGES: tuple[tuple[int, bytes], ...] = (
    (0, h.request("GET", "/status?user=x", AGENT)),
    (1, h.response(200, b"<html>" + b"x" * 300, ("Server", "plc web"))),
    (0, h.request("HEAD", "/firmware.bin")),
    (1, h.section("HTTP/1.1 200 OK", (("Content-Length", "1000000"),))),
    (0, h.request("POST", "/set", AGENT, body=b"setpoint=5")),
    (1, h.section("HTTP/1.1 204 No Content")),
    (0, h.request("GET", "/log")),
    (1, h.chunked(200, b"a" * 20, b"b" * 300, b"c", extension=";x=1", trailer="Expires: 0\r\n")),
    (0, h.request("PUT", "/file", ("Expect", "100-continue"), ("Content-Length", "1500"))),
    (1, h.section("HTTP/1.1 100 Continue")),
    (0, b"p" * 700),
    (0, b"q" * 800),
    (1, h.response(201)),
    (0, h.request("GET", "/a") + h.request("DELETE", "/b") + h.request("OPTIONS", "*")),
    (1, h.response(404, b"no") + h.response(403) + h.response(200)),
    (0, h.section("GET /old HTTP/1.0", (("Host", "plc"),))),
    (1, h.section("HTTP/1.1 304 Not Modified", (("Server", "plc web"),))),
    (0, h.request("POST", "/chunks", ("Transfer-Encoding", "chunked")) + h.chunks(b"d" * 40)),
    (1, h.response(500, b"broken")),
    (0, h.request("PATCH", "/x", body=b"{}")),
    (1, h.response(401, b"", ("WWW-Authenticate", "Basic"))),
    (0, h.request("GET", "/until/close")),
    (1, h.section("HTTP/1.1 200 OK") + b"text until the end"),
    (1, b"and more"),
)


def http_frames() -> list[f.Stamped]:
    """Connections on a port of HTTP, on one of nobody, over segment borders, and one that changes over."""
    frames: list[f.Stamped] = []
    for number, (port, size) in enumerate(((80, 60_000), (8080, 100), (18080, 400))):
        talk = f.Talk(CLIENT, SERVER, port, 40000 + number)
        talk.open(0)
        ts = 0
        for side, data in EXCHANGES:
            # on a port of nobody a connection is known by a whole start line
            step = size if port != 18080 or ts else len(data)
            for at in range(0, len(data), step):
                ts += MS
                (talk.server if side else talk.client)(ts, data[at : at + step])
        talk.close(ts + MS)
        frames += talk.frames
    talk = f.Talk(CLIENT, SERVER, 80, 41000)
    talk.open(0)
    talk.client(MS, h.request("GET", "/ws", ("Upgrade", "websocket"), ("Connection", "Upgrade")))
    talk.server(2 * MS, h.section("HTTP/1.1 101 Switching Protocols", (("Upgrade", "websocket"),)))
    talk.server(3 * MS, b"\x81\x05hello")
    return frames + talk.frames

"""Small receivers of our own: an HTTP(S) address that answers as told, and a syslog listener."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from servers import Certs, free_port

Answer = tuple[int, dict[str, str], bytes]
MESSAGE = re.compile(rb"<(\d+)>1 (\S+) (\S+) gridwarden (\d+) (\w+) - (.*)", re.DOTALL)


class Http:
    """Keeps what was posted; ``answer(body, headers)`` says what comes back."""

    def __init__(self, certs: Certs | None = None) -> None:
        self.certs = certs
        self.port = free_port()
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.answer: Callable[[bytes, dict[str, str]], Answer] = lambda *_: (204, {}, b"")
        self._server: ThreadingHTTPServer | None = None
        self._links: list[socket.socket] = []

    @property
    def url(self) -> str:
        return f"{'https' if self.certs else 'http'}://localhost:{self.port}/hook"

    def start(self) -> None:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = dict(self.headers.items())
                status, extra, content = outer.answer(body, headers)
                outer.requests.append((self.path, headers, body))
                self.send_response(status)
                for name, value in extra.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            allow_reuse_address = True
            daemon_threads = True

            def get_request(self) -> tuple[socket.socket, Any]:
                link, address = super().get_request()
                outer._links.append(link)
                return link, address

            def handle_error(self, *_: Any) -> None:
                pass

        self._server = Server(("127.0.0.1", self.port), Handler)
        if self.certs is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certs.cert, self.certs.key)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        for link in self._links:  # kept alive by the client
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)
        self._links.clear()


class Syslog:
    """Listens for RFC 5424 messages by UDP, TCP or TLS; octet counting is checked to the last digit."""

    def __init__(self, transport: str, certs: Certs | None = None) -> None:
        self.transport, self.certs = transport, certs
        self.port = free_port()
        self.messages: list[tuple[bytes, ...]] = []
        self.broken: list[bytes] = []
        self.reading = threading.Event()
        self.reading.set()
        self._links: list[socket.socket] = []
        self._server: socket.socket | None = None

    def start(self) -> None:
        if self.transport == "udp":
            self._server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._server.bind(("127.0.0.1", self.port))
            threading.Thread(target=self._datagrams, args=(self._server,), daemon=True).start()
            return
        self._server = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._server,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            with contextlib.suppress(OSError):
                self._server.shutdown(socket.SHUT_RDWR)
            self._server.close()
            self._server = None
        for link in self._links:
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)
            link.close()
        self._links.clear()

    def idents(self) -> list[str]:
        """Alert ids in the CEF that came."""
        found = (re.search(rb"externalId=(\S+)", message[-1]) for message in self.messages)
        return [match[1].decode() for match in found if match]

    def _datagrams(self, server: socket.socket) -> None:
        while True:
            try:
                self._take(server.recv(65_536))
            except OSError:
                return

    def _accept(self, server: socket.socket) -> None:
        while True:
            try:
                link, _ = server.accept()
                if self.certs is not None:
                    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                    context.load_cert_chain(self.certs.cert, self.certs.key)
                    link = context.wrap_socket(link, server_side=True)
            except ssl.SSLError:
                continue
            except OSError:
                if self._server is not server:
                    return
                continue
            self._links.append(link)
            threading.Thread(target=self._stream, args=(link,), daemon=True).start()

    def _stream(self, link: socket.socket) -> None:
        pending = b""
        while True:
            while not self.reading.is_set():
                time.sleep(0.01)
            try:
                data = link.recv(65_536)
            except OSError:
                return
            if not data:
                return
            pending += data
            while match := re.match(rb"([1-9]\d{0,5}) ", pending):
                end = match.end() + int(match[1])
                if len(pending) < end:
                    break
                self._take(pending[match.end() : end])
                pending = pending[end:]
            if pending and not re.match(rb"[1-9]\d{0,5}(?: |$)", pending):
                self.broken.append(pending)

    def _take(self, content: bytes) -> None:
        match = MESSAGE.fullmatch(content)
        if match is None:
            self.broken.append(content)
        else:
            self.messages.append(match.groups())

"""Syslog: RFC 5424 messages by UDP (RFC 5426), TCP with octet counting (RFC 6587) or TLS (RFC 5425).

Syslog has no receipts. So a batch counts as sent when the receiver's kernel has acknowledged every octet,
and when a connection turns out to be dead afterwards, the batch before is sent again on the next one: a
record may arrive twice with the same id, and is lost only when the receiver itself drops what it has taken.
UDP promises nothing.

This module and the capture ring are the only ones that open sockets themselves.
"""

from __future__ import annotations

import fcntl
import os
import socket
import ssl
import struct
import termios
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from sensor.sinks.base import Record, Unavailable
from sensor.sinks.cef import as_cef
from sensor.sinks.http import explain, tls_context
from sensor.sinks.records import as_json
from sensor.sinks.settings import SyslogSettings

SEVERITY: Final = (6, 5, 4, 1)
"""Syslog severity of info, notice, warning, alarm: informational, notice, warning, alert."""

DRAIN_STEP: Final = 0.01


class SyslogSink:
    """Sends each record as one message."""

    def __init__(self, settings: SyslogSettings) -> None:
        self._settings = settings
        self._link: socket.socket | None = None
        self._unsure: list[bytes] = []

    def send(self, records: Sequence[Record]) -> int:
        """Send the records; see :class:`sensor.sinks.base.Sink`."""
        settings = self._settings
        frames = [
            message(record, settings.format, settings.facility, settings.max_message) for record in records
        ]
        try:
            if settings.transport == "udp":
                self._send_datagrams(frames)
            else:
                self._send_stream(frames)
        except OSError as error:  # ssl.SSLError is one
            self._drop()
            raise Unavailable(f"{settings.host} port {settings.port}: {explain(error)}") from error
        return 0

    def close(self) -> None:
        """Drop the connection."""
        self._drop()

    def _send_datagrams(self, frames: list[bytes]) -> None:
        link = self._open()
        for frame in frames:
            link.send(frame)

    def _send_stream(self, frames: list[bytes]) -> None:
        framed = [b"%d %b" % (len(frame), frame) for frame in frames]  # RFC 6587 3.4.1
        if self._link is not None and self._is_dead(self._link):
            self._drop()
        again = self._unsure if self._link is None else []
        link = self._open()
        link.sendall(b"".join([*again, *framed]))
        self._drain(link)
        self._unsure = framed

    def _drain(self, link: socket.socket) -> None:
        """Wait until the other side has acknowledged everything."""
        deadline = time.monotonic() + self._settings.timeout
        while _unacknowledged(link):
            if self._is_dead(link):
                raise ConnectionResetError("the receiver closed the connection")
            if time.monotonic() > deadline:
                raise TimeoutError("the receiver does not take what was sent")
            time.sleep(DRAIN_STEP)

    def _is_dead(self, link: socket.socket) -> bool:
        """Whether the other side has hung up; a syslog receiver never sends anything else."""
        link.setblocking(False)
        try:
            return not link.recv(4_096)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False  # nothing there, or TLS records without content: session tickets
        except OSError:
            return True
        finally:
            link.settimeout(self._settings.timeout)

    def _open(self) -> socket.socket:
        if self._link is None:
            settings = self._settings
            if settings.transport == "udp":
                self._link = _udp(settings.host, settings.port)
            else:
                link = socket.create_connection((settings.host, settings.port), settings.timeout)
                link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                self._link = link
                if settings.transport == "tls":
                    self._link = self._wrap(link)
        return self._link

    def _wrap(self, link: socket.socket) -> socket.socket:
        settings = self._settings
        context = tls_context(settings.verify_tls, settings.ca_file, settings.cert_file, settings.key_file)
        return context.wrap_socket(link, server_hostname=settings.host)

    def _drop(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()


def _udp(host: str, port: int) -> socket.socket:
    family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    link = socket.socket(family, kind, proto)
    link.connect(address)
    return link


def _unacknowledged(link: socket.socket) -> int:
    """Octets in the kernel that the other side has not acknowledged (SIOCOUTQ)."""
    answer = fcntl.ioctl(link.fileno(), termios.TIOCOUTQ, b"\0" * 4)
    return int(struct.unpack("i", answer)[0])


def message(record: Record, form: str, facility: int, most: int) -> bytes:
    """One RFC 5424 message.

    Parameters
    ----------
    record : Record
    form : str
        ``cef`` or ``json``.
    facility : int
        0 to 23.
    most : int
        Octets of the whole message; CEF is cut at a character, JSON loses its longest texts, because half an
        object is none.
    """
    when = datetime.fromtimestamp(max(0.0, min(record.ts, 253_402_300_799.0)), UTC)
    stamp = when.isoformat(timespec="microseconds").replace("+00:00", "Z")
    host = _name(record.data["sensor"], 255)
    priority = facility * 8 + SEVERITY[record.level]
    head = f"<{priority}>1 {stamp} {host} gridwarden {os.getpid()} {record.kind} - ".encode("ascii")
    if form == "json":
        return head + _json_within(record, most - len(head)).encode("ascii")
    body = as_cef(record).encode("utf-8", "replace")[: most - len(head) - 3]
    # The byte order mark says that it is UTF-8 (RFC 5424 6.4).
    return head + b"\xef\xbb\xbf" + body.decode("utf-8", "ignore").encode("utf-8")


def _json_within(record: Record, most: int) -> str:
    text = as_json(record)
    if len(text) <= most:
        return text
    data = {key: value for key, value in record.data.items() if not isinstance(value, list | dict)}
    for limit in (500, 100, 30, 8, 0):
        short = {
            key: value[:limit] if isinstance(value, str) and key not in ("record", "level", "id") else value
            for key, value in data.items()
        }
        text = as_json(Record(record.kind, record.change, record.ident, record.ts, record.level, short))
        if len(text) <= most:
            break
    return text


def _name(text: object, most: int) -> str:
    """Printable US-ASCII without spaces, "-" for nothing (RFC 5424 6)."""
    return "".join(c if 33 <= ord(c) <= 126 else "_" for c in str(text)[:most]) or "-"

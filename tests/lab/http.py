"""Builders for HTTP/1 messages (RFC 9112)."""

from __future__ import annotations

Fields = tuple[tuple[str, str], ...]


def section(start: str, fields: Fields = ()) -> bytes:
    """A header section with the empty line behind it."""
    lines = [start, *(f"{name}: {value}" for name, value in fields)]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def request(
    method: str = "GET", target: str = "/", *fields: tuple[str, str], body: bytes = b"", host: str = "plc"
) -> bytes:
    """A request; a body gets its Content-Length."""
    length: Fields = (("Content-Length", str(len(body))),) if body else ()
    return section(f"{method} {target} HTTP/1.1", (("Host", host), *fields, *length)) + body


def response(status: int = 200, body: bytes = b"", *fields: tuple[str, str]) -> bytes:
    """A response with a Content-Length."""
    return section(f"HTTP/1.1 {status} said", (*fields, ("Content-Length", str(len(body))))) + body


def chunks(*parts: bytes, extension: str = "", trailer: str = "") -> bytes:
    """A body in chunks."""
    out = b"".join(b"%x%s\r\n%s\r\n" % (len(part), extension.encode(), part) for part in parts)
    return out + b"0\r\n" + trailer.encode() + b"\r\n"


def chunked(status: int = 200, *parts: bytes, extension: str = "", trailer: str = "") -> bytes:
    """A response whose body comes in chunks."""
    head = section(f"HTTP/1.1 {status} said", (("Transfer-Encoding", "chunked"),))
    return head + chunks(*parts, extension=extension, trailer=trailer)

"""Builders for OPC UA over TCP (IEC 62541-6), written from the standard; nothing is checked."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Sequence

NONE, BASIC = b"http://opcfoundation.org/UA/SecurityPolicy#None", b"http://x/SecurityPolicy#Basic256Sha256"


def string(value: str | bytes | None) -> bytes:
    """String or ByteString behind its length; None is null."""
    if value is None:
        return b"\xff\xff\xff\xff"
    octets = value.encode() if isinstance(value, str) else value
    return struct.pack("<i", len(octets)) + octets


def node(ident: int | str | bytes | uuid.UUID, namespace: int = 0) -> bytes:
    """NodeId in its shortest form."""
    if isinstance(ident, int):
        if ident < 256 and not namespace:
            return bytes([0, ident])
        if ident < 65536 and namespace < 256:
            return struct.pack("<BBH", 1, namespace, ident)
        return struct.pack("<BHI", 2, namespace, ident)
    if isinstance(ident, uuid.UUID):
        return struct.pack("<BH", 4, namespace) + ident.bytes_le
    return struct.pack("<BH", 5 if isinstance(ident, bytes) else 3, namespace) + string(ident)


def array(*elements: bytes) -> bytes:
    """Array of encoded elements."""
    return struct.pack("<i", len(elements)) + b"".join(elements)


def extension(type_id: int, body: bytes | None) -> bytes:
    """ExtensionObject with a binary body, or none."""
    return node(type_id) + (b"\0" if body is None else b"\x01" + string(body))


def localized(text: str | None, locale: str | None = None) -> bytes:
    """LocalizedText."""
    mask = (1 if locale is not None else 0) | (2 if text is not None else 0)
    parts = [string(part) for part in (locale, text) if part is not None]
    return bytes([mask]) + b"".join(parts)


def request(type_id: int, body: bytes, token: bytes = node(1001), handle: int = 9) -> bytes:
    """A request: type, header, body."""
    head = (
        token + bytes(8) + struct.pack("<II", handle, 0) + string(None) + struct.pack("<I", 1000) + b"\0\0\0"
    )
    return service(type_id) + head + body


def response(type_id: int, body: bytes, code: int = 0, diagnostics: bytes = b"\0", handle: int = 9) -> bytes:
    """A response: type, header, body."""
    return (
        service(type_id)
        + bytes(8)
        + struct.pack("<II", handle, code)
        + diagnostics
        + array()
        + b"\0\0\0"
        + body
    )


def service(type_id: int) -> bytes:
    """Type id as all stacks write it."""
    return struct.pack("<BBH", 1, 0, type_id)


def message(kind: bytes, body: bytes, chunk: bytes = b"F", size: int | None = None) -> bytes:
    """Message header and body."""
    return kind + chunk + struct.pack("<I", 8 + len(body) if size is None else size) + body


def hello(url: str | None) -> bytes:
    """HEL."""
    return message(b"HEL", struct.pack("<5I", 0, 65536, 65536, 0, 0) + string(url))


ACK = message(b"ACK", struct.pack("<5I", 0, 65536, 65536, 0, 0))


def error(code: int, reason: str) -> bytes:
    """ERR."""
    return message(b"ERR", struct.pack("<I", code) + string(reason))


def reverse_hello(server: str, url: str) -> bytes:
    """RHE."""
    return message(b"RHE", string(server) + string(url))


def opening(sequence: int, body: bytes, policy: bytes = NONE, channel: int = 7) -> bytes:
    """OPN; with another policy the body stands for ciphertext."""
    head = struct.pack("<I", channel) + string(policy) + string(b"cert" if policy != NONE else None)
    head += string(b"t" * 20 if policy != NONE else None)
    return message(b"OPN", head + (struct.pack("<II", sequence, sequence) if policy == NONE else b"") + body)


def msg(sequence: int, ident: int, body: bytes, chunk: bytes = b"F", kind: bytes = b"MSG") -> bytes:
    """MSG or CLO of a channel that can be read."""
    return message(kind, struct.pack("<IIII", 7, 3, sequence, ident) + body, chunk)


def chunks(sequence: int, ident: int, body: bytes, size: int) -> list[bytes]:
    """A message in chunks of at most ``size`` octets of its body."""
    pieces = [body[i : i + size] for i in range(0, len(body), size)]
    return [
        msg(sequence + i, ident, piece, b"C" if i < len(pieces) - 1 else b"F")
        for i, piece in enumerate(pieces)
    ]


def application(uri: str, urls: Sequence[str] = ()) -> bytes:
    """ApplicationDescription."""
    head = string(uri) + string("product") + localized("name", "en") + struct.pack("<I", 1)
    return head + string(None) + string(None) + array(*map(string, urls))


def endpoint(url: str, uri: str) -> bytes:
    """EndpointDescription without user tokens."""
    head = string(url) + application(uri, [url]) + string(b"cert") + struct.pack("<I", 1) + string(NONE)
    return head + array() + string("profile") + b"\0"


def read(*nodes: bytes) -> bytes:
    """ReadRequest of the attribute Value."""
    items = [
        item + struct.pack("<I", 13) + string(None) + struct.pack("<H", 0) + string(None) for item in nodes
    ]
    return request(631, struct.pack("<dI", 0.0, 2) + array(*items))


def variant(kind: int, value: bytes) -> bytes:
    """Scalar Variant."""
    return bytes([kind]) + value


def data_value(
    value: bytes | None = None, status: int | None = None, rest: int = 0, tail: bytes = b""
) -> bytes:
    """DataValue; ``rest`` are the mask bits of time stamps, which ``tail`` holds."""
    mask = (1 if value is not None else 0) | (2 if status is not None else 0) | rest
    return bytes([mask]) + (value or b"") + (b"" if status is None else struct.pack("<I", status)) + tail


def write(*items: tuple[bytes, bytes]) -> bytes:
    """WriteRequest of (node, DataValue)."""
    body = [where + struct.pack("<I", 13) + string(None) + value for where, value in items]
    return request(673, array(*body))


def read_response(*values: bytes, code: int = 0) -> bytes:
    """ReadResponse of DataValues."""
    return response(634, array(*values) + array(), code)


def browse(*nodes: bytes) -> bytes:
    """BrowseRequest with the default view."""
    items = [item + struct.pack("<I", 0) + node(33) + struct.pack("<BII", 1, 0, 63) for item in nodes]
    return request(527, node(0) + bytes(12) + struct.pack("<I", 0) + array(*items))


def call(target: bytes, method: bytes) -> bytes:
    """CallRequest without arguments."""
    return request(712, array(target + method + array()))


def monitor(*items: tuple[bytes, int]) -> bytes:
    """CreateMonitoredItemsRequest of (node, client handle)."""
    body = []
    for where, handle in items:
        wanted = where + struct.pack("<I", 13) + string(None) + struct.pack("<H", 0) + string(None)
        settings = struct.pack("<Id", handle, 50.0) + extension(0, None) + struct.pack("<IB", 1, 1)
        body.append(wanted + struct.pack("<I", 2) + settings)
    return request(751, struct.pack("<II", 1, 2) + array(*body))


def create_session(url: str, uri: str) -> bytes:
    """CreateSessionRequest."""
    tail = string("session") + string(b"n" * 32) + string(None) + struct.pack("<dI", 60000.0, 0)
    return request(461, application(uri) + string(None) + string(url) + tail, node(0))


def create_session_response(url: str, uri: str) -> bytes:
    """CreateSessionResponse with one endpoint."""
    head = (
        node(5, 1)
        + node(uuid.UUID(int=77), 1)
        + struct.pack("<d", 60000.0)
        + string(b"n" * 32)
        + string(b"cert")
    )
    tail = array() + string(None) + string(None) + struct.pack("<I", 0)
    return response(464, head + array(endpoint(url, uri)) + tail)


def activate_session(user: str, password: bytes) -> bytes:
    """ActivateSessionRequest with a user name."""
    token = extension(324, string("policy") + string(user) + string(password) + string(None))
    head = string(None) + string(None) + array(string(b"c") + string(b"s")) + array(string("en"))
    return request(467, head + token + string(None) + string(None))

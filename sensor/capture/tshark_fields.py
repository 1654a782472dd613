"""tshark's columns (``-T fields``): the quick way to frames that hold one message of each protocol.

Columns are separated by a tab, occurrences of one field by a carriage return: tshark writes both as ``\\t``,
``\\r`` where they come from the wire, so that no text can move a column. A line with another number of
columns is refused. What the columns cannot tell for sure (several messages, several points, text with
escapes, octets of a number) raises :class:`~sensor.capture.expressions.Unclear`: the frame is then read as a
tree.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import compress
from typing import Final

from sensor.capture.expressions import Unclear
from sensor.capture.tshark_process import TsharkError, TsharkProcess
from sensor.capture.tshark_rows import QUOTED, Frame, Interner

BASE: Final = (
    "frame.number",
    "frame.time_epoch",
    "frame.len",
    "frame.protocols",
    "eth.src",
    "eth.dst",
    "vlan.id",
    "ip.src",
    "ip.dst",
    "ipv6.src",
    "ipv6.dst",
    "tcp.srcport",
    "tcp.dstport",
    "tcp.len",
    "tcp.stream",
    "tcp.segment.count",
    "udp.srcport",
    "udp.dstport",
    "udp.length",
    "_ws.malformed",
    "_ws.short",
)
"""Columns that every line begins with."""

FORMAT: Final = ("-T", "fields", "-E", "separator=/t", "-E", "aggregator=\r", "-E", "occurrence=a")
AGGREGATOR: Final = "\r"
MAX_LINE: Final = 32 << 20
"""Bytes of one line; a frame that needs more is left out and counted."""

REASSEMBLED: Final = 1 << 12  # vocabulary.Flag, as plain numbers: this is the inner loop
MALFORMED: Final = 1 << 0
TRUNCATED: Final = 1 << 1

_ODD_TEXT: Final = re.compile("[\\\\\x00-\x1f\x7f-\x9f\ufffd\ud800-\udfff]")
_HEX: Final = re.compile(r"(?:[0-9A-Fa-f]{2})+\Z")
_SEPARATORS: Final = str.maketrans("", "", ":-. ")
_ETHERNET_HEADER: Final = 14
_TUNNELS: Final = frozenset(("gre", "vxlan"))
"""Layers around a frame that is read as if it had been captured itself."""

Found = dict[str, str]
"""The columns of a line that are not empty, by field name."""


class Columns:
    """Fields of a frame that holds one message of a profile.

    Parameters
    ----------
    found : dict of str to str
    octets_of : set of str
        Fields that are octets by type.
    """

    __slots__ = ("_found", "_octets_of")

    def __init__(self, found: Found, octets_of: frozenset[str]) -> None:
        self._found = found
        self._octets_of = octets_of

    def has(self, name: str) -> bool:
        return name in self._found

    def shown(self, name: str, nth: int) -> str | None:
        text = self._found.get(name)
        if text is None or AGGREGATOR not in text:
            return text if nth in (0, -1) else None
        parts = text.split(AGGREGATOR)
        return parts[nth] if nth < len(parts) else None

    def text(self, name: str, nth: int) -> str | None:
        text = self.shown(name, nth)
        if text is None:
            return None
        if name in self._octets_of:
            return text.translate(_SEPARATORS)
        if _ODD_TEXT.search(text):
            raise Unclear
        return text

    def octets(self, name: str, nth: int) -> bytes | None:
        text = self.shown(name, nth)
        if text is None:
            return None
        if name not in self._octets_of:
            raise Unclear
        text = text.translate(_SEPARATORS)
        return bytes.fromhex(text) if _HEX.match(text) else None


class OnePoint(Columns):
    """The same frame for the only point of its message: what occurs twice could be outside of it."""

    __slots__ = ()

    def shown(self, name: str, nth: int) -> str | None:
        text = self._found.get(name)
        if text is not None and AGGREGATOR in text:
            raise Unclear
        return text if nth in (0, -1) else None


def occurrences(found: Found, names: tuple[str, ...]) -> int:
    """How often fields occur in the frame."""
    return sum(found[name].count(AGGREGATOR) + 1 for name in names if name in found)


class ColumnLines:
    """Lines of one run, as (base columns, fields that are there).

    Parameters
    ----------
    process : TsharkProcess
    names : sequence of str
        Fields after the base columns, in the order asked for.

    Attributes
    ----------
    too_long : int
        Lines left out because of their length.
    """

    def __init__(self, process: TsharkProcess, names: tuple[str, ...]) -> None:
        self._process = process
        self._names = names
        self._width = len(BASE) + len(names)
        self.too_long = 0

    def __iter__(self) -> Iterator[tuple[list[str], Found]]:
        names, width, base = self._names, self._width, len(BASE)
        for text in self._blocks():
            for line in text.split("\n"):
                parts = line.split("\t")
                if len(parts) != width:
                    raise TsharkError(
                        f"tshark wrote {len(parts)} columns instead of {width}: this version cannot be used; "
                        "install tshark 4.0 or newer"
                    )
                rest = parts[base:]
                yield parts, dict(compress(zip(names, rest, strict=True), rest))

    def _blocks(self) -> Iterator[str]:
        """Whole lines, many at a time, without the last line feed."""
        waiting: list[bytes] = []
        size, skipping = 0, False
        for piece in self._process.pieces():
            head, line_end, tail = piece.rpartition(b"\n")
            if not line_end:
                waiting.append(piece)
                size += len(piece)
                if size > MAX_LINE:
                    waiting, size, skipping = [], 0, True
                continue
            if skipping:
                head = head.partition(b"\n")[2] if b"\n" in head else b""
                self.too_long, skipping, waiting = self.too_long + 1, False, []
            if waiting or head:
                yield b"".join((*waiting, head)).decode("utf-8", "surrogateescape")
            waiting, size = [tail], len(tail)


class FrameReader:
    """Makes a :class:`Frame` of the base columns.

    Parameters
    ----------
    interner : Interner
    renumber : callable
        Our frame number for tshark's.
    """

    def __init__(self, interner: Interner, renumber: Callable[[int], int]) -> None:
        self._endpoint = interner.endpoint
        self._renumber = renumber

    def read(self, parts: list[str], number: int) -> Frame:
        """Base columns as numbers; ``number`` is tshark's frame number."""
        protocols = parts[3]
        layers = protocols.split(":")
        src, dst = _addresses(parts, layers)
        station = _first if _TUNNELS.isdisjoint(layers) else _last
        sport, dport, stream, payload = _transport(parts, layers)
        flags = 0
        if parts[15]:
            flags |= REASSEMBLED
        if parts[19]:
            flags |= MALFORMED
        if parts[20]:
            flags |= TRUNCATED
        return Frame(
            number,
            nanoseconds(parts[1]),
            self._renumber(number),
            self._endpoint(src),
            self._endpoint(dst),
            self._endpoint(station(parts[4])),
            self._endpoint(station(parts[5])),
            sport,
            dport,
            stream,
            _integer(_last(parts[6]), 0) if parts[6] else 0,
            payload,
            flags,
        )


def nanoseconds(text: str) -> int:
    """Exact nanoseconds of an epoch time such as ``1700000000.123456789``; 0 for what is none.

    Examples
    --------
    >>> nanoseconds("1700000000.123456789"), nanoseconds("-1.5")
    (1700000000123456789, -1500000000)
    """
    seconds, _, rest = text.partition(".")
    digits = (rest + "000000000")[:9]
    if not seconds.lstrip("-").isdecimal() or not digits.isdecimal():
        return 0
    whole = int(seconds) * 1_000_000_000
    return whole - int(digits) if text.startswith("-") else whole + int(digits)


def _addresses(parts: list[str], layers: list[str]) -> tuple[str, str]:
    """Source and destination of the outermost IP header, inside a tunnel of the innermost; "" without."""
    if not _TUNNELS.isdisjoint(layers):
        return _inner_addresses(parts, layers)
    four, six = parts[7], parts[9]
    if four and six:
        outer_is_four = (
            layers.index("ip") < layers.index("ipv6") if "ip" in layers and "ipv6" in layers else True
        )
        four = four if outer_is_four else ""
    if four:
        return _first(four), _first(parts[8])
    return _first(six), _first(parts[10])


def _inner_addresses(parts: list[str], layers: list[str]) -> tuple[str, str]:
    """Those of the last IP header that is not quoted by an ICMP error."""
    own = [layer for layer in _before_quotes(layers) if layer in ("ip", "ipv6")]
    if not own:
        return "", ""
    columns, place = (7, 8) if own[-1] == "ip" else (9, 10), own.count(own[-1]) - 1
    src, dst = (parts[column].split(AGGREGATOR) for column in columns)
    return (src[place], dst[place]) if place < min(len(src), len(dst)) else ("", "")


def _before_quotes(layers: list[str]) -> list[str]:
    quoting = [layers.index(name) for name in ("icmp", "icmpv6") if name in layers]
    return layers[: min(quoting)] if quoting else layers


def _transport(parts: list[str], layers: list[str]) -> tuple[int, int, int, int]:
    """(source port, destination port, TCP stream, bytes carried) of the innermost TCP or UDP header."""
    tcp, udp = parts[11], parts[16]
    if tcp or udp:
        if "icmp" in layers or "icmpv6" in layers:  # an error that quotes somebody else's datagram
            return QUOTED, -1, -1, -1
        if tcp and udp:
            udp = "" if _last_place(layers, "tcp") > _last_place(layers, "udp") else udp
            tcp = "" if udp else tcp
        if tcp:
            return (
                _integer(_last(tcp), -1),
                _integer(_last(parts[12]), -1),
                _integer(_last(parts[14]), -1),
                _integer(_last(parts[13]), -1),
            )
        return (
            _integer(_last(udp), -1),
            _integer(_last(parts[17]), -1),
            -1,
            max(_integer(_last(parts[18]), -1) - 8, -1),
        )
    return -1, -1, -1, max(_integer(parts[2], -1) - _ETHERNET_HEADER, -1)


def _last_place(layers: list[str], name: str) -> int:
    return len(layers) - layers[::-1].index(name) if name in layers else -1


def _first(text: str) -> str:
    return text.partition(AGGREGATOR)[0] if AGGREGATOR in text else text


def _last(text: str) -> str:
    return text.rpartition(AGGREGATOR)[2] if AGGREGATOR in text else text


def _integer(text: str, otherwise: int) -> int:
    try:
        return int(text)
    except ValueError:
        return otherwise

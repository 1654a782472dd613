"""What tshark shows of single frames, line by line, for people who want to see the evidence of an alert.

Reads ``-T pdml`` of a handful of frames. Each line keeps tshark's name of the field, so that the fields which
decided can be marked. Lines that tshark hides, and whatever lies beyond the bounds, are left out and counted.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from lxml import etree

from sensor.capture.tshark_process import TsharkProcess

MAX_LINES: Final = 2000
"""Lines of one frame that are kept."""
MAX_TEXT: Final = 300
"""Characters of one line that are kept."""
MAX_PACKET: Final = 8 << 20
"""Bytes of one frame's PDML; a larger one is left out."""
MAX_DEPTH: Final = 24

_BEGIN: Final = b"<packet>"
_END: Final = b"</packet>"
_OWN: Final = frozenset({"geninfo", "frame", "fake-field-wrapper"})
"""Nodes that are no part of the frame: what PDML adds, and tshark's own numbering of what it was given."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a dissected frame.

    Attributes
    ----------
    protocol : str
        tshark's name of the protocol whose node it stands in (``goose``).
    name : str
        tshark's name of the field (``goose.stNum``), "" for a line of text only.
    text : str
        As tshark shows it; from the capture, so not to be trusted by a terminal.
    depth : int
        0 for a protocol, 1 and up below it.
    """

    protocol: str
    name: str
    text: str
    depth: int


@dataclass(slots=True)
class Dissection:
    """One frame as tshark shows it.

    Attributes
    ----------
    number : int
        tshark's number of the frame.
    lines : list of Line
        In tshark's order.
    left_out : int
        Lines beyond :data:`MAX_LINES` or :data:`MAX_DEPTH`.
    """

    number: int
    lines: list[Line] = field(default_factory=list)
    left_out: int = 0


def read_dissections(process: TsharkProcess, wanted: Container[int]) -> Iterator[Dissection]:
    """Frames of a run that writes PDML, in order; those that are no XML or too large are left out.

    Raises
    ------
    TsharkError
        tshark failed.
    """
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, recover=False
    )
    for text in _packets(process):
        try:
            packet = etree.fromstring(text, parser)
        except etree.XMLSyntaxError:
            continue
        number = _number(packet)
        if number in wanted:
            yield dissection_of(packet, number)


def dissection_of(packet: Any, number: int) -> Dissection:
    """A ``<packet>`` element as lines."""
    made = Dissection(number)
    for proto in packet:
        name = proto.get("name", "")
        if proto.tag == "proto" and name not in _OWN:
            _add(made, Line(name, name, _shown(proto) or name, 0))
            _walk(made, proto, name, 1)
        elif proto.tag == "field":  # what no protocol claims, such as the rest of a segment
            _walk(made, [proto], name, 0)
    return made


def _walk(made: Dissection, nodes: Any, protocol: str, depth: int) -> None:
    for node in nodes:
        if node.get("hide") == "yes":
            continue
        inner = protocol
        if node.tag == "proto":  # a protocol within a protocol
            inner = node.get("name", "") or protocol
        text = _shown(node)
        if depth > MAX_DEPTH:
            made.left_out += 1
            continue
        if text:
            _add(made, Line(inner, node.get("name", ""), text, depth))
        _walk(made, node, inner, depth + 1 if text else depth)


def _add(made: Dissection, line: Line) -> None:
    if len(made.lines) < MAX_LINES:
        made.lines.append(line)
    else:
        made.left_out += 1


def _shown(node: Any) -> str:
    """What tshark shows of a node; "" for one that only groups others."""
    text: str = node.get("showname") or (node.get("show") or "" if node.get("name", "") == "" else "")
    return text[:MAX_TEXT]


def _number(packet: Any) -> int:
    for node in packet.iterfind("./proto[@name='geninfo']/field[@name='num']"):
        shown = node.get("show", "")
        return int(shown) if shown.isdecimal() and len(shown) < 19 else 0
    return 0


def _packets(process: TsharkProcess) -> Iterator[bytes]:
    """Each ``<packet>`` element as bytes; what grows beyond the bound is dropped."""
    waiting = bytearray()
    for piece in process.pieces():
        waiting += piece
        while (end := waiting.find(_END)) >= 0:
            end += len(_END)
            begin = waiting.rfind(_BEGIN, 0, end)
            if begin >= 0 and end - begin <= MAX_PACKET:
                yield bytes(waiting[begin:end])
            del waiting[:end]
        if len(waiting) > MAX_PACKET:
            del waiting[: -len(_END)]

"""An SCL file as a tree of elements, with everything refused that a hostile or broken file may hold.

Refused, each with file and line: document type declarations (and with them every entity), files, trees
and texts beyond the limits, what is no XML, and XML that is no SCL. Nothing is fetched from anywhere. Parts
that nothing here needs (instance values, private elements, the single line) are dropped while reading.

Namespaces: edition 1, 2 and 2.1 share ``http://www.iec.ch/61850/2003/SCL`` and tell themselves apart by
``version``, ``revision`` and ``release`` of the root; files of early tools have no
namespace. What stands in any other namespace than the root's is somebody's extension and is skipped.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from lxml import etree

from sensor.errors import SclError

MAX_BYTES: Final = 128 << 20
MAX_DEPTH: Final = 64
MAX_ELEMENTS: Final = 4_000_000
DROPPED: Final = frozenset({"Private", "Substation", "Process", "Line", "Services", "DOI", "SDI", "DAI"})

Node = Any
"""An lxml element."""


class Place:
    """Where in a file something stands; makes the errors and remarks that name it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def error(self, line: int | None, problem: str, remedy: str = "") -> SclError:
        """An error to raise."""
        where = f"{self.name}:{line}" if line else self.name
        return SclError(f"{where}: {problem}" + (f". {remedy}" if remedy else ""))

    def remark(self, node: Node, what: str) -> str:
        """A sentence about an element that can be lived without."""
        return f"{self.name}:{node.sourceline}: {what}"


def load(path: Path) -> bytes:
    """Bytes of a file, no more than one byte beyond the limit; raises SclError."""
    try:
        with path.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise SclError(f"{path}: cannot be read: {error.strerror or error}") from error


def parse(data: bytes, name: str) -> Node:
    """Root element of the bytes of an SCL file; ``name`` stands in the messages."""
    place = Place(name)
    if len(data) > MAX_BYTES:
        raise place.error(None, f"larger than {MAX_BYTES >> 20} MiB", "No station description is; refused")
    try:
        root = _walk(data, place)
    except etree.XMLSyntaxError as error:
        # once a piece of the tree was read, lxml says "no element found" and keeps the reason in its log
        last = None if error.lineno else error.error_log.last_error
        line, what = (last.line, last.message) if last else (error.lineno, error.msg)
        raise place.error(line, f"no well-formed XML: {what}", "Export it again") from error
    except (etree.LxmlError, ValueError, LookupError) as error:
        raise place.error(None, f"cannot be read as XML: {error}", "Export it again") from error
    if local(root) != "SCL":
        raise place.error(
            root.sourceline,
            f"the root element is {local(root)[:40]!r}, not SCL",
            "Give a .scd, .cid, .iid or .icd file",
        )
    return root


def _walk(data: bytes, place: Place) -> Node:
    """Build the tree piece by piece, so that a limit is met before memory is full."""
    events = etree.iterparse(
        io.BytesIO(data),
        events=("start", "end"),
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    depth = count = 0
    for event, node in events:
        if event == "end":
            depth -= 1
            if local(node) in DROPPED:
                node.clear()
            continue
        if not count and node.getroottree().docinfo.doctype:
            raise place.error(
                node.sourceline,
                "it has a document type declaration (DTD), through which entities expand; refused",
                "SCL files have none: remove the <!DOCTYPE …> line if you trust its author",
            )
        depth, count = depth + 1, count + 1
        if depth > MAX_DEPTH:
            raise place.error(node.sourceline, f"elements nested deeper than {MAX_DEPTH}; refused")
        if count > MAX_ELEMENTS:
            raise place.error(node.sourceline, f"more than {MAX_ELEMENTS:,} elements; refused")
    return events.root


def local(node: Node) -> str:
    """Name of an element without its namespace; "" for what is no element."""
    return etree.QName(node).localname if isinstance(node.tag, str) else ""


def children(node: Node, *names: str) -> Iterator[Node]:
    """Children of these names in the namespace of their parent."""
    space = etree.QName(node).namespace
    for child in node:
        if isinstance(child.tag, str):
            name = etree.QName(child)
            if name.namespace == space and name.localname in names:
                yield child


def attribute(node: Node, name: str, default: str = "") -> str:
    """An attribute without spaces around it, printable, at most 255 characters."""
    return clean(node.get(name, default))


def content(node: Node) -> str:
    """Text of an element, as :func:`attribute`."""
    return clean(node.text or "")


def clean(text: str) -> str:
    """Printable text of bounded length."""
    return "".join(char if char.isprintable() else " " for char in text[:1024]).strip()[:255]

"""Data types of an SCL file: what a member of a data set looks like on the wire (IEC 61850-6, 9.5).

A member (FCDA) that names a data object or a structured attribute is sent as a structure; its leaves are
all attributes of its functional constraint in the order of the templates. Arrays count as often as they say.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from sensor.scl.document import Node, attribute, children

MAX_LEAVES: Final = 2_048
"""Leaves of one data set; an Ethernet frame holds fewer."""

MAX_NESTING: Final = 16
MAX_STEPS: Final = 50_000
MAX_ALL_STEPS: Final = 20_000_000
"""Attributes looked at for one member, and for all members of a file: types may multiply without end."""

BOOLEAN, BITS, INTEGER, UNSIGNED, FLOAT, OCTETS, TEXT = 0x83, 0x84, 0x85, 0x86, 0x87, 0x89, 0x8A
BINARY_TIME, UNICODE, UTC_TIME = 0x8C, 0x90, 0x91

TAGS: Final = {
    "BOOLEAN": BOOLEAN,
    **dict.fromkeys(("INT8", "INT16", "INT24", "INT32", "INT64", "INT128", "Enum"), INTEGER),
    **dict.fromkeys(("INT8U", "INT16U", "INT24U", "INT32U", "INT64U"), UNSIGNED),
    **dict.fromkeys(("FLOAT32", "FLOAT64"), FLOAT),
    **dict.fromkeys(("Dbpos", "Tcmd", "Quality", "Check", "TrgOps", "OptFlds", "SvOptFlds"), BITS),
    **dict.fromkeys(("Octet6", "Octet16", "Octet64", "EntryID"), OCTETS),
    **dict.fromkeys(
        ("VisString32", "VisString64", "VisString65", "VisString129", "VisString255", "ObjRef", "Currency"),
        TEXT,
    ),
    "Unicode255": UNICODE,
    "EntryTime": BINARY_TIME,
    "Timestamp": UTC_TIME,
}
"""ASN.1 tag of each basic type (IEC 61850-8-1); others are not checked."""


class UnknownType(Exception):
    """Templates that do not say what something looks like; the text says where they end."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One value on the wire: path behind the member's own (``.mag.f``), basic type and ASN.1 tag (0 any)."""

    path: str
    basic: str
    tag: int


class Templates:
    """Index of ``DataTypeTemplates``."""

    def __init__(self, root: Node) -> None:
        self._types: dict[tuple[str, str], Node] = {}
        self._named: dict[int, dict[tuple[str, str], Node]] = {}
        self._known: dict[tuple[str, ...], list[Leaf] | str] = {}
        self._steps = self._all_steps = 0
        for section in children(root, "DataTypeTemplates"):
            for node in children(section, "LNodeType", "DOType", "DAType"):
                kind = node.tag.rpartition("}")[2]
                self._types.setdefault((kind, attribute(node, "id")), node)

    def leaves(self, node_type: str, data: str, attributes: str, constraint: str, index: str) -> list[Leaf]:
        """Leaves of one member.

        Parameters
        ----------
        node_type : str
            ``lnType`` of the logical node.
        data, attributes : str
            ``doName`` and ``daName``, dotted; the latter may be "".
        constraint : str
            ``fc``.
        index : str
            ``ix``: one element of an array; "" all.

        Raises
        ------
        UnknownType
        """
        key = (node_type, data, attributes, constraint, index)
        if key not in self._known:
            self._steps = 0
            try:
                self._known[key] = self._all(*key)
            except UnknownType as error:
                self._known[key] = str(error)
            self._all_steps += self._steps
        found = self._known[key]
        if isinstance(found, str):
            raise UnknownType(found)
        return found

    def _all(self, *member: str) -> list[Leaf]:
        made: list[Leaf] = []
        for leaf in self._member(*member):
            made.append(leaf)
            if len(made) > MAX_LEAVES:
                raise UnknownType(f"more than {MAX_LEAVES} values in one member")
        if not made:
            raise UnknownType(f"no attribute of functional constraint {member[3] or '?'}")
        return made

    def _member(
        self, node_type: str, data: str, attributes: str, constraint: str, index: str
    ) -> Iterator[Leaf]:
        here = self._type("LNodeType", node_type)
        array = False
        for depth, name in enumerate(data.split(".")):
            step = self._child(here, "SDO" if depth else "DO", name)
            array |= bool(attribute(step, "count")) and attribute(step, "count") != "0"
            here = self._type("DOType", attribute(step, "type"))
        if array and not index:
            raise UnknownType(f"{data} is an array, sent whole")
        if not attributes:
            yield from self._constrained(here, constraint, "", 0)
            return
        names = attributes.split(".")
        for depth, name in enumerate(names):
            step = self._child(here, "BDA" if depth else "DA", name)
            if depth == 0 and constraint and attribute(step, "fc") != constraint:
                raise UnknownType(f"{name} has functional constraint {attribute(step, 'fc') or '?'}")
            if depth + 1 < len(names):
                here = self._type("DAType", attribute(step, "type"))
        yield from self._value(step, "", 0, bool(index))

    def _constrained(self, kind: Node, constraint: str, path: str, depth: int) -> Iterator[Leaf]:
        """Attributes of one functional constraint of a data object, sub-objects included."""
        self._check(depth, path)
        for child in children(kind, "DA", "SDO"):
            name = f"{path}.{attribute(child, 'name')}"
            if child.tag.rpartition("}")[2] == "DA":
                if attribute(child, "fc") == constraint:
                    yield from self._value(child, name, depth + 1)
                continue
            below = self._type("DOType", attribute(child, "type"))
            for number in self._elements(child):
                self._check(depth, name)
                yield from self._constrained(below, constraint, name + number, depth + 1)

    def _value(self, node: Node, path: str, depth: int, one: bool = False) -> Iterator[Leaf]:
        """Leaves of an attribute; ``one`` when an index picks a single element of an array."""
        basic = attribute(node, "bType")
        for number in [""] if one else self._elements(node):
            self._check(depth, path)
            if basic != "Struct":
                yield Leaf(path + number, basic, TAGS.get(basic, 0))
                continue
            for child in children(self._type("DAType", attribute(node, "type")), "BDA"):
                yield from self._value(child, f"{path}{number}.{attribute(child, 'name')}", depth + 1)

    @staticmethod
    def _elements(node: Node) -> list[str]:
        """Path suffix of each element; one empty suffix without an array."""
        count = attribute(node, "count")
        if not count or count == "0":
            return [""]
        if not (count.isascii() and count.isdigit()) or len(count) > 6 or int(count) > MAX_LEAVES:
            raise UnknownType(f"an array of {count} elements")
        return [f"({number})" for number in range(int(count))]

    def _check(self, depth: int, path: str) -> None:
        self._steps += 1
        if self._steps > MAX_STEPS or self._all_steps > MAX_ALL_STEPS:
            raise UnknownType(f"types that multiply beyond {MAX_STEPS} attributes at {path[:80]}")
        if depth > MAX_NESTING:
            raise UnknownType(
                f"types nested deeper than {MAX_NESTING} at {path[:80]}: do they name themselves?"
            )

    def _type(self, kind: str, ident: str) -> Any:
        found = self._types.get((kind, ident))
        if found is None:
            raise UnknownType(f"no {kind} {ident!r}")
        return found

    def _child(self, node: Node, kind: str, name: str) -> Any:
        """A named child; types are looked into many times, so their children are indexed once."""
        index = self._named.get(id(node))
        if index is None:
            index = {}
            for child in children(node, "DO", "SDO", "DA", "BDA"):
                index.setdefault((child.tag.rpartition("}")[2], attribute(child, "name")), child)
            self._named[id(node)] = index
        found = index.get((kind, name))
        if found is None:
            raise UnknownType(f"{attribute(node, 'id')} has no {kind} {name!r}")
        return found

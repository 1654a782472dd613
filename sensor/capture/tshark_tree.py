"""tshark's tree (``-T pdml``): frames with several messages, read in the order of the tree.

Each packet is cut out of the stream and parsed alone, so that one that is broken, too deep or too large
spoils no other. A node of ``pdu`` begins a message; nodes that a profile lists before it belong to the
message that follows, all others to the one before. A message inside another one ends with its own node.

No entities are resolved, nothing is loaded, sizes are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from lxml import etree

from grid_profiles.schema import Profile
from sensor.capture.expressions import MAX_TEXT
from sensor.capture.tshark_process import TsharkProcess

MAX_PACKET: Final = 64 << 20
"""Bytes of one packet in PDML; a larger one is left out and counted."""
MAX_ITEMS: Final = 200_000
"""Fields of one frame that are kept; those after it are left out."""

_END: Final = b"</packet>"
_BEGIN: Final = b"<packet>"
_HEAD: Final = 1024
_NUMBER: Final = re.compile(rb'<field name="num" pos="[0-9]+" show="([0-9]{1,18})"')
_ESCAPED: Final = re.compile("[\\\\ \ufffd]")  # what may stand for another character in ``show``
_SPACE: Final = dict.fromkeys("\t\n\r", " ")

Item = tuple[str, str]
"""What PDML says of one field: ``show`` and ``value`` (octets in hexadecimal, "" without)."""
Items = dict[str, list[Item]]


class Tree:
    """Fields of one message.

    Parameters
    ----------
    items : dict of str to list of Item
        Its fields in order.
    octets_of : set of str
        Fields that are octets by type.
    """

    __slots__ = ("_items", "_octets_of", "points")

    def __init__(self, items: Items, octets_of: frozenset[str]) -> None:
        self._items = items
        self._octets_of = octets_of
        self.points: list[Group] = []

    def add(self, name: str, item: Item) -> None:
        """Append a field to the message and to the point that is open."""
        self._items.setdefault(name, []).append(item)
        if self.points:
            self.points[-1]._items.setdefault(name, []).append(item)

    def begin_point(self, carry: frozenset[str]) -> None:
        """The next field begins a point."""
        carried = {name: self._items[name][-1:] for name in carry if name in self._items}
        if self.points:
            head = self.points[0]._head
        else:
            head = {name: list(items) for name, items in self._items.items()}
        self.points.append(Group({}, carried, head, self._octets_of))

    def has(self, name: str) -> bool:
        return name in self._items

    def _item(self, name: str, nth: int) -> Item | None:
        items = self._items.get(name)
        if items is None or nth >= len(items):
            return None
        return items[nth]

    def shown(self, name: str, nth: int) -> str | None:
        item = self._item(name, nth)
        if item is None:
            return None
        return item[1] if name in self._octets_of and item[1] else item[0]

    def text(self, name: str, nth: int) -> str | None:
        item = self._item(name, nth)
        if item is None:
            return None
        return item[1] if name in self._octets_of else plain_text(*item)

    def octets(self, name: str, nth: int) -> bytes | None:
        item = self._item(name, nth)
        return None if item is None else hexadecimal(item[1])


class Group(Tree):
    """What a point carries from before its start; then its own fields, then the head of the message.

    Between the last point of a header and the first of the next stand the fields of that next header: what
    is carried comes first, so that they are not taken for the point's own.

    Parameters
    ----------
    items : dict of str to list of Item
        Fields from its start to the next one.
    carried : dict of str to list of Item
        The last occurrence before its start of each field that the profile carries.
    head : dict of str to list of Item
        Fields of the message before the first start.
    octets_of : set of str
        Fields that are octets by type.
    """

    __slots__ = ("_carried", "_head")

    def __init__(self, items: Items, carried: Items, head: Items, octets_of: frozenset[str]) -> None:
        super().__init__(items, octets_of)
        self._carried = carried
        self._head = head

    def has(self, name: str) -> bool:
        return name in self._items or name in self._carried or name in self._head

    def _item(self, name: str, nth: int) -> Item | None:
        items = self._carried.get(name) or self._items.get(name) or self._head.get(name)
        if items is None or nth >= len(items):
            return None
        return items[nth]


def hexadecimal(text: str) -> bytes | None:
    """Octets of PDML's ``value``; None for what is none (it shows masked numbers with odd digits)."""
    try:
        return bytes.fromhex(text if len(text) % 2 == 0 else "0" + text) if text else None
    except ValueError:
        return None


def plain_text(show: str, value: str) -> str:
    """The text of a field; its octets decide where ``show`` is escaped and they agree with it."""
    if not _ESCAPED.search(show):
        return show[:MAX_TEXT]
    octets = hexadecimal(value)
    if octets is not None:
        text = octets.decode("utf-8", "replace")
        if _escaped(text) == show:
            return octets[:MAX_TEXT].decode("utf-8", "surrogateescape")
    return show[:MAX_TEXT]


def _escaped(text: str) -> str:
    """As text arrives in PDML: control characters as ``\\x1``, white space (XML does that) as a space."""
    return "".join(_SPACE.get(c) or (f"\\x{ord(c):x}" if ord(c) < 0x20 else c) for c in text)


Trees = dict[int, list[Tree]]
"""Messages of one frame, by the key of their TreeMap."""


class TreeMap:
    """What to take from the tree for one profile.

    Parameters
    ----------
    profile : Profile
        With a ``tshark`` section.
    """

    def __init__(self, profile: Profile) -> None:
        assert profile.tshark is not None
        tshark = profile.tshark
        self.pdu = frozenset(tshark.pdu)
        self.nodes = frozenset(tshark.nodes)
        self.wanted = frozenset(tshark.fields)
        self.starts = frozenset(tshark.values.start if tshark.values else ())
        self.carry = frozenset(tshark.values.carry if tshark.values else ())
        self.leading = _leading(tshark.nodes, tshark.pdu)


def _leading(nodes: tuple[str, ...], pdu: tuple[str, ...]) -> frozenset[str]:
    """Nodes whose fields belong to the message that follows."""
    own = [place for place, node in enumerate(nodes) if node in pdu]
    if own:
        return frozenset(nodes[: min(own)])
    # a field begins the message: what its node holds before that field belongs to it as well
    hosts = [
        place
        for place, node in enumerate(nodes)
        if any(name == node or name.startswith(node + ".") for name in pdu)
    ]
    return frozenset(nodes[: (min(hosts) if hosts else len(nodes) - 1) + 1])


class _Collector:
    """Messages of one profile in one frame, as the walk meets them."""

    __slots__ = ("_around", "_leading", "_map", "_octets_of", "_open", "messages")

    def __init__(self, tree_map: TreeMap, octets_of: frozenset[str]) -> None:
        self._map = tree_map
        self._octets_of = octets_of
        self._leading: Items = {}
        self._open: Tree | None = None
        self._around: list[Tree] = []
        self.messages: list[Tree] = []

    def enter(self) -> None:
        """The walk goes into the node that began the open message."""
        if self._open is not None:
            self._around.append(self._open)

    def leave(self) -> None:
        """That node has ended; a message around it takes the next fields."""
        self._around.pop()
        if self._around:
            self._open = self._around[-1]

    def node(self, name: str) -> None:
        """A protocol's node begins."""
        if name in self._map.leading:
            self._open = None

    def meet(self, name: str, show: str, value: str) -> bool:
        """One node or field; True when it begins a message."""
        begins = name in self._map.pdu
        if begins:
            self._open = Tree(self._leading, self._octets_of)
            self._leading = {}
            self.messages.append(self._open)
        if name in self._map.wanted or begins:
            item = (show, value)
            message = self._open
            if message is None:
                self._leading.setdefault(name, []).append(item)
                return begins
            if name in self._map.starts:
                message.begin_point(self._map.carry)
            message.add(name, item)
        return begins


class TreePackets:
    """Messages of every packet of one run.

    Parameters
    ----------
    process : TsharkProcess
        Writes PDML.
    maps : mapping of int to TreeMap
        What to take, by a key of the caller's.
    octets_of : set of str
        Fields that are octets by type.
    numbers : ndarray of int64
        tshark's numbers of the frames to read, ascending; the others are passed over.

    Attributes
    ----------
    unreadable : int
        Packets left out because they were too large, too deep or no XML.
    """

    def __init__(
        self,
        process: TsharkProcess,
        maps: Mapping[int, TreeMap],
        octets_of: frozenset[str],
        numbers: npt.NDArray[np.int64],
    ) -> None:
        self._numbers = numbers
        self._process = process
        self._maps = maps
        self._octets_of = octets_of
        self._by_node: dict[str, list[int]] = {}
        for key, tree_map in maps.items():
            for node in tree_map.nodes:
                self._by_node.setdefault(node, []).append(key)
        self._parser = etree.XMLParser(
            resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, recover=False
        )
        self.unreadable = 0

    def __iter__(self) -> Iterator[tuple[int, Trees]]:
        """(tshark's frame number, messages by key) in the order of the frames."""
        for text in self._packets():
            number = _frame_number(text)
            if not self._wanted(number):
                continue
            try:
                packet = etree.fromstring(text, self._parser)
            except etree.XMLSyntaxError:
                self.unreadable += 1
                continue
            yield number, self._walk(packet)

    def _wanted(self, number: int) -> bool:
        at = int(np.searchsorted(self._numbers, number))
        return at < len(self._numbers) and int(self._numbers[at]) == number

    def _packets(self) -> Iterator[bytes]:
        """Each ``<packet>`` element as bytes."""
        waiting = bytearray()
        searched = 0
        for piece in self._process.pieces():
            waiting += piece
            while (end := waiting.find(_END, max(0, searched - len(_END)))) >= 0:
                end += len(_END)
                begin = waiting.rfind(_BEGIN, 0, end)
                if begin >= 0 and end - begin <= MAX_PACKET:
                    yield bytes(waiting[begin:end])
                elif begin >= 0:
                    self.unreadable += 1
                del waiting[:end]
                searched = 0
            searched = len(waiting)
            if searched > MAX_PACKET:
                # drop its beginning: what comes until its end holds no <packet> any more
                self.unreadable += 1
                del waiting[: -len(_END)]
                searched = 0

    def _walk(self, packet: Any) -> Trees:
        collectors = {key: _Collector(tree_map, self._octets_of) for key, tree_map in self._maps.items()}
        budget = [MAX_ITEMS]
        self._descend(packet, [], collectors, budget)
        return {key: collector.messages for key, collector in collectors.items() if collector.messages}

    def _descend(
        self, parent: Any, owners: list[_Collector], collectors: dict[int, _Collector], budget: list[int]
    ) -> None:
        for child in parent:
            name = child.get("name", "")
            mine = owners
            if child.tag == "proto":
                mine = self._owners(name, owners, collectors)
                for owner in mine:
                    owner.node(name)
            if not mine and child.tag != "proto":
                if len(child):
                    self._descend(child, mine, collectors, budget)
                continue
            began = [
                owner for owner in mine if owner.meet(name, child.get("show", ""), child.get("value", ""))
            ]
            budget[0] -= 1
            if budget[0] < 0:
                return
            if len(child):
                for owner in began:
                    owner.enter()
                self._descend(child, mine, collectors, budget)
                for owner in began:
                    owner.leave()

    def _owners(
        self, name: str, owners: list[_Collector], collectors: dict[int, _Collector]
    ) -> list[_Collector]:
        keys = self._by_node.get(name)
        if not keys:
            return owners
        added = [collectors[key] for key in keys]
        return owners + [one for one in added if one not in owners]


def _frame_number(packet: bytes) -> int:
    """Frame number from the head of a packet, which tshark writes first; 0 when it is not there."""
    found = _NUMBER.search(packet, 0, _HEAD)
    return int(found[1]) if found else 0

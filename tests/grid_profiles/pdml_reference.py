"""Slow, readable twin of what a [tshark] section means: PDML in, one dict per message out.

Written from docs/profiles.md alone; the engine must agree with it. Reads a whole PDML document at once,
so that it is for small captures only.
"""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lxml import etree

from grid_profiles.schema import FLOAT_COLUMNS, Alternatives, Expression, Profile, Term, TsharkMap

Number = int | float


@dataclass
class Occurrence:
    """One PDML field: its name, shown text and octets."""

    name: str
    show: str
    value: str


@dataclass
class Message:
    """Fields of one message in the order in which they stand in the frame."""

    frame: int
    fields: list[Occurrence] = field(default_factory=list)


def run_tshark(capture: Path, tshark: TsharkMap) -> bytes:
    """PDML of the frames that match the profile's filter."""
    command = ["tshark", "-n", "-r", str(capture), "-Y", tshark.filter, "-T", "pdml"]
    command += ["-o", "tcp.analyze_sequence_numbers:FALSE"]
    for name, value in tshark.preferences.items():
        command += ["-o", f"{name}:{value}"]
    for rule in tshark.decode_as:
        command += ["-d", rule]
    for name in tshark.heuristics:
        command += ["--enable-heuristic", name]
    return subprocess.run(command, capture_output=True, check=False).stdout


def messages(pdml: bytes, tshark: TsharkMap) -> Iterator[Message]:
    """Cut each frame into messages at the ``pdu`` nodes."""
    if not pdml:
        return
    parser = etree.XMLParser(recover=True, huge_tree=True)
    for packet in etree.fromstring(pdml, parser).iter("packet"):
        number = next(int(f.get("show")) for f in packet.iter("field") if f.get("name") == "num")
        yield from _cut(packet, number, tshark)


def _cut(packet: etree._Element, number: int, tshark: TsharkMap) -> list[Message]:
    cutter = _Cutter(number, tshark)
    for node in packet.iterchildren("proto"):
        if node.get("name") in tshark.nodes:
            cutter.protocol(node)
    return cutter.found


class _Cutter:
    """Walks the nodes of one frame and keeps the message that takes the next field."""

    def __init__(self, number: int, tshark: TsharkMap) -> None:
        self.number, self.tshark = number, tshark
        self.first = min(
            (tshark.nodes.index(name) for name in tshark.pdu if name in tshark.nodes), default=-1
        )
        self.found: list[Message] = []
        self.open: Message | None = None
        self.waiting: list[Occurrence] = []

    def protocol(self, node: etree._Element) -> None:
        """A top-level node: of the message that follows when it is listed before the first ``pdu``."""
        if self.tshark.nodes.index(node.get("name")) < self.first:
            self.open = None
        self.walk(node)

    def walk(self, node: etree._Element) -> None:
        """One node and what is inside; a message inside another one ends with its own node."""
        around = self.open
        here = Occurrence(node.get("name") or "", node.get("show") or "", node.get("value") or "")
        begins = here.name in self.tshark.pdu
        if begins:
            self.open = Message(self.number, self.waiting)
            self.waiting = []
            self.found.append(self.open)
        (self.waiting if self.open is None else self.open.fields).append(here)
        for inner in node.iterchildren("proto", "field"):
            self.walk(inner)
        if begins and around is not None and node.getparent().tag != "packet":
            self.open = around


def integer(text: str) -> int | None:
    """Decimal, 0x hexadecimal or a boolean word; None for anything else."""
    text = text.strip()
    if text in ("True", "False"):
        return int(text == "True")
    try:
        return int(text, 16) if text.lower().startswith("0x") else int(text)
    except ValueError:
        return None


def normal(text: str) -> str:
    """Integers in decimal, other text as it is: what ``equals``, ``when`` and ``map`` compare."""
    number = integer(text)
    return text if number is None else str(number)


def find(fields: Sequence[Occurrence], name: str, nth: int = 0) -> Occurrence | None:
    """The nth occurrence of a field."""
    found = [occurrence for occurrence in fields if occurrence.name == name]
    if not found or nth >= len(found):
        return None
    return found[nth]


def reading(term: Term, occurrence: Occurrence, number_is_float: bool) -> Number | str | None:
    """What a term reads from one occurrence, before map, shift and the rest."""
    if term.read == "shown":
        whole = integer(occurrence.show)
        if whole is None and number_is_float:
            try:
                return float(occurrence.show)
            except ValueError:
                return occurrence.show
        return occurrence.show if whole is None else whole
    try:
        octets = bytes.fromhex(occurrence.value)
    except ValueError:
        return None
    if not octets:
        return None
    order = "little" if term.read.endswith("_le") else "big"
    if term.read.startswith("float"):
        code = {4: "f", 8: "d"}.get(len(octets))
        return struct.unpack(("<" if order == "little" else ">") + code, octets)[0] if code else None
    return int.from_bytes(octets, order, signed=term.read.startswith("signed"))


def number(term: Term, occurrence: Occurrence, column: str) -> Number | None:
    """Value of a term, None when it is absent."""
    raw = reading(term, occurrence, column in FLOAT_COLUMNS)
    if raw is None:
        return None
    if term.equals and str(raw) not in term.equals:
        return None
    if term.constant is not None:
        raw = term.constant
    elif term.map is not None:
        if str(raw) not in term.map:
            return None
        raw = term.map[str(raw)]
    if isinstance(raw, str):
        return None
    if isinstance(raw, int):
        raw >>= term.shift
        if term.mask is not None:
            raw &= term.mask
    result = raw * term.times + term.plus
    return result if term.scale == 1.0 else result * term.scale


def evaluate(expression: Expression, fields: Sequence[Occurrence], column: str) -> Number | str | None:
    """Number or text of one alternative; None when it does not hold."""
    for name, texts in expression.when.items():
        found = find(fields, name)
        if found is None or (texts and normal(found.show) not in texts):
            return None
    if any(find(fields, name) for name in expression.unless):
        return None
    if expression.text:
        nth = expression.nth * len(expression.text) if len(expression.nth) == 1 else expression.nth
        parts = [find(fields, *one) for one in zip(expression.text, nth, strict=True)]
        if any(part is None for part in parts):
            return None
        return expression.prefix + expression.join.join(part.show for part in parts if part)
    total: Number = expression.plus
    for term in expression.terms:
        found = find(fields, term.field, term.nth)
        value = None if found is None else number(term, found, column)
        if value is None:
            return None
        total += value
    return total


def choose(alternatives: Alternatives, fields: Sequence[Occurrence], column: str) -> Number | str | None:
    """The first alternative that holds."""
    for expression in alternatives:
        value = evaluate(expression, fields, column)
        if value is not None:
            return value
    return None


def is_set(alternatives: Alternatives, fields: Sequence[Occurrence]) -> bool:
    """Whether one alternative of a flag holds: presence and conditions, and not 0 under a mask."""
    return any(_holds(expression, fields) for expression in alternatives)


def _holds(expression: Expression, fields: Sequence[Occurrence]) -> bool:
    masked = any(term.mask is not None for term in expression.terms)
    for term in expression.terms:
        found = find(fields, term.field, term.nth)
        if found is None:
            return False
        raw = reading(term, found, True)
        if term.equals and str(raw) not in term.equals:
            return False
    plain = tuple(replace(t, constant=0 if not masked else t.constant, equals=()) for t in expression.terms)
    number = evaluate(replace(expression, terms=plain), fields, "")
    return number is not None and (not masked or number != 0)


def rows(capture: Path, profile: Profile) -> list[dict[str, object]]:
    """Every message of a capture as a dict of the columns that it fills, with flags, sub and values."""
    tshark = profile.tshark
    assert tshark is not None
    return [_row(message, tshark) for message in messages(run_tshark(capture, tshark), tshark)]


def _row(message: Message, tshark: TsharkMap) -> dict[str, object]:
    row: dict[str, object] = {"frame": message.frame}
    for column, alternatives in tshark.columns.items():
        row[column] = choose(alternatives, message.fields, column)
    row["flags"] = {
        name for name, alts in tshark.flags.items() if choose(alts, message.fields, "") is not None
    }
    talk = tshark.conversation
    row["role"] = choose(talk.role_of, message.fields, "") if talk.role_of else talk.role
    row["sub"] = choose(talk.sub, message.fields, "")
    row["values"] = list(_values(message.fields, tshark))
    return row


def _values(fields: list[Occurrence], tshark: TsharkMap) -> Iterator[dict[str, object]]:
    if tshark.values is None:
        return
    starts = [place for place, here in enumerate(fields) if here.name in tshark.values.start]
    ahead = fields[: starts[0]] if starts else []
    for place, end in zip(starts, [*starts[1:], len(fields)][: len(starts)], strict=True):
        carried = [find(fields[:place], name, -1) for name in tshark.values.carry]
        layers = ([here for here in carried if here], fields[place:end], ahead)
        seen: list[Occurrence] = []
        for layer in layers:
            known = {here.name for here in seen}
            seen += [here for here in layer if here.name not in known]
        point = {c: choose(a, seen, c) for c, a in tshark.values.columns.items()}
        if point.get("point") is not None:
            yield point

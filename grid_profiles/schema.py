"""What a protocol profile is: the types that the loader returns and every engine reads.

A profile is data (one TOML file, format 1, described in docs/profiles.md). This module holds the
types and the error; ``parse`` turns a TOML table into them, ``loader`` finds the files.

Everything here is immutable: one registry may be shared by threads and stages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from grid_profiles.vocabulary import KindClass

FORMAT: Final = 1
"""The only profile format this version reads."""

POINT_FORMATS: Final = ("text", "modbus", "iec104", "goose", "sv", "s7comm", "number")
CATEGORIES: Final = ("industrial", "background")
ROLES: Final = ("server_port", "publisher", "peer")
LAYERS: Final = ("ip", "ethernet")
READINGS: Final = ("shown", "unsigned", "unsigned_le", "signed", "signed_le", "float", "float_le")

INTEGER_COLUMNS: Final = ("kind", "cause", "point", "count", "size", "seq", "state", "aux")
FLOAT_COLUMNS: Final = ("value",)
TEXT_COLUMNS: Final = ("name", "ident")
COLUMNS: Final = INTEGER_COLUMNS + FLOAT_COLUMNS + TEXT_COLUMNS
"""Columns of a message that ``[tshark.columns]`` may fill."""

POINT_COLUMNS: Final = ("point", "value", "kind", "quality")
"""Columns of a point that ``[tshark.values]`` may fill."""


class ProfileError(ValueError):
    """A profile that cannot be used: which file, which key, what is wrong, what to do.

    Parameters
    ----------
    file : str
        File as the user named it.
    key : str
        Path of the key, for example ``kinds[3].class``; "" when the file itself is the problem.
    problem : str
        What is wrong, with the value that was found.
    remedy : str
        What to write instead.
    """

    def __init__(self, file: str, key: str, problem: str, remedy: str = "") -> None:
        self.file, self.key, self.problem, self.remedy = file, key, problem, remedy
        text = f"{file}: {key}: {problem}" if key else f"{file}: {problem}"
        super().__init__(f"{text}. {remedy}" if remedy else text)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of message of a protocol.

    Attributes
    ----------
    code : int
        The protocol's own code, MESSAGE.kind.
    name : str
        Name in the words of the standard.
    cls : KindClass
        What it does to the plant.
    technique : str
        ATT&CK for ICS id or "".
    effect : str
        What it can do to the plant, for alert texts; "" none.
    """

    code: int
    name: str
    cls: KindClass
    technique: str = ""
    effect: str = ""


@dataclass(frozen=True, slots=True)
class Transport:
    """Where a protocol lives: port numbers and ethertypes, each a tuple of int."""

    tcp: tuple[int, ...] = ()
    udp: tuple[int, ...] = ()
    ethertypes: tuple[int, ...] = ()
    tls: tuple[int, ...] = ()

    @property
    def ports(self) -> frozenset[int]:
        """Every TCP, UDP and TLS port; what tells a server from a client."""
        return frozenset(self.tcp + self.udp + self.tls)


@dataclass(frozen=True, slots=True)
class Term:
    """A number taken from one field: ``((number >> shift) & mask) * times + plus``, then ``* scale``.

    Attributes
    ----------
    field : str
        tshark field name; the term is absent when the message lacks the field.
    read : str
        One of READINGS: ``shown`` takes PDML ``show`` as text; the others take the octets of PDML
        ``value`` (``_le``: least significant octet first; floats have 4 or 8 octets).
    shift : int
        Bits shifted to the right.
    mask : int or None
        Bits kept after the shift; None keeps all.
    times, plus : int
        Integer factor and addend.
    scale : float
        Factor of a float column (``value``).
    map : mapping of str to int, or None
        Replaces what was read, first of all (an integer is looked up in decimal); what is not listed
        makes the term absent.
    constant : int or None
        The number itself when the field is present, whatever it holds.
    equals : tuple of str
        When not empty, the term is absent unless what was read (an integer in decimal) is one of these.
    nth : int
        Which occurrence in the message: 0 the first, -1 the last.
    """

    field: str
    read: str = "shown"
    shift: int = 0
    mask: int | None = None
    times: int = 1
    plus: int = 0
    scale: float = 1.0
    map: Mapping[str, int] | None = None
    constant: int | None = None
    equals: tuple[str, ...] = ()
    nth: int = 0


@dataclass(frozen=True, slots=True)
class Expression:
    """One alternative for a column: a sum of terms, or a text. It holds when all its fields are there.

    Attributes
    ----------
    terms : tuple of Term
        Their sum plus ``plus`` is the number; empty for a text.
    plus : int
        Added to the sum of the terms.
    text : tuple of str
        Fields whose shown text is joined; empty for a number.
    join, prefix : str
        Between the texts, and before the first.
    nth : tuple of int
        Which occurrence in the message, one number for all text fields or one for each.
    when : mapping of str to tuple of str
        Further conditions: each field must be present and its first shown text (an integer in decimal)
        be one of the texts; no texts means that presence is enough.
    unless : tuple of str
        Fields that must not be there.
    """

    terms: tuple[Term, ...] = ()
    plus: int = 0
    text: tuple[str, ...] = ()
    join: str = "/"
    prefix: str = ""
    nth: tuple[int, ...] = (0,)
    when: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    unless: tuple[str, ...] = ()

    @property
    def fields(self) -> tuple[str, ...]:
        """Every tshark field this alternative reads, without repeats, in order of use."""
        names = [term.field for term in self.terms] + list(self.text) + list(self.when) + list(self.unless)
        return tuple(dict.fromkeys(names))


Alternatives = tuple[Expression, ...]
"""The first expression that holds gives the column; none leaves the column's sentinel."""


@dataclass(frozen=True, slots=True)
class ConversationMap:
    """How the two ends and the key of a conversation are found.

    Attributes
    ----------
    role : str
        ``server_port``: the end that owns a port of ``[transport]`` is the server. ``publisher``: the
        sender publishes. ``peer``: no end leads. ``""``: see ``role_of``.
    role_of : Alternatives
        Gives a vocabulary.Role number; falls back to ``server_port`` where none holds.
    port : Alternatives
        Instead of the server's TCP/UDP port.
    sub : Alternatives
        What separates conversations of the same hosts.
    layer : str
        ``ip`` or ``ethernet``: which addresses are the endpoints.
    """

    role: str = "server_port"
    role_of: Alternatives = ()
    port: Alternatives = ()
    sub: Alternatives = ()
    layer: str = "ip"


@dataclass(frozen=True, slots=True)
class ValuesMap:
    """How process values are found: each occurrence of a ``start`` field begins one point.

    Expressions of a point see, in this order: the fields from its start to the next start; the last
    occurrence before it of each ``carry`` field; the fields of the message before the first start. A
    start for which no ``point`` expression holds gives no row (and no entry number in the goose format);
    a map without ``point`` uses the point of the message.
    """

    start: tuple[str, ...] = ()
    carry: tuple[str, ...] = ()
    columns: Mapping[str, Alternatives] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class TsharkMap:
    """How tshark's fields become messages and points.

    Attributes
    ----------
    filter : str
        Display filter; a frame that matches holds a message (or a piece of one).
    pdu : tuple of str
        Names of PDML ``proto`` or ``field`` nodes that each begin one message.
    nodes : tuple of str
        Names of all PDML ``proto`` nodes whose fields belong to the message.
    preferences : mapping of str to str
        tshark preferences (``-o name:value``).
    decode_as : tuple of str
        ``-d`` rules.
    heuristics : tuple of str
        ``--enable-heuristic`` names.
    columns : mapping of str to Alternatives
    flags : mapping of str to Alternatives
        Flag name to the alternatives of which one sets it.
    conversation : ConversationMap
    values : ValuesMap or None
    """

    filter: str
    pdu: tuple[str, ...]
    nodes: tuple[str, ...]
    preferences: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    decode_as: tuple[str, ...] = ()
    heuristics: tuple[str, ...] = ()
    columns: Mapping[str, Alternatives] = field(default_factory=lambda: MappingProxyType({}))
    flags: Mapping[str, Alternatives] = field(default_factory=lambda: MappingProxyType({}))
    conversation: ConversationMap = field(default_factory=ConversationMap)
    values: ValuesMap | None = None

    @property
    def fields(self) -> tuple[str, ...]:
        """Every tshark field the profile reads, without repeats."""
        names: list[str] = []
        for alternatives in (*self.columns.values(), *self.flags.values()):
            names += [name for expression in alternatives for name in expression.fields]
        talk = self.conversation
        for expression in (*talk.role_of, *talk.port, *talk.sub):
            names += expression.fields
        if self.values is not None:
            names += self.values.start + self.values.carry
            for alternatives in self.values.columns.values():
                names += [name for expression in alternatives for name in expression.fields]
        return tuple(dict.fromkeys(names))


@dataclass(frozen=True, slots=True)
class Profile:
    """One protocol.

    Attributes
    ----------
    name, title, category, standard, about : str
    id : int
        MESSAGE.proto in this run; baselines store the name, never the id.
    native : bool
        A native decoder exists.
    transport : Transport
    kinds : mapping of int to Kind
        Closed catalogue; a code that is not in it is shown as "kind 77".
    columns : mapping of str to str
        What a generic column means in this protocol.
    points_format : str
        How MESSAGE.point prints, one of POINT_FORMATS.
    tshark : TsharkMap or None
        None: only counted by port or ethertype.
    source : str
        File it came from.
    """

    name: str
    id: int
    title: str
    category: str
    standard: str
    native: bool
    about: str
    transport: Transport
    kinds: Mapping[int, Kind]
    columns: Mapping[str, str]
    points_format: str
    tshark: TsharkMap | None
    source: str = ""

    def kind_name(self, code: int) -> str:
        """Name of a kind, "kind 77" for one that is not in the catalogue."""
        kind = self.kinds.get(code)
        return kind.name if kind is not None else f"kind {code}"

    def kind_class(self, code: int) -> str:
        """Class of a kind, "" for one that is not in the catalogue."""
        kind = self.kinds.get(code)
        return kind.cls.value if kind is not None else ""

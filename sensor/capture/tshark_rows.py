"""Messages and points of one profile: a view of a message's fields in, rows of the contract out.

Both readers of tshark's output (columns and tree) end here, so that it does not matter which of them read a
frame. Numbers that a column cannot hold become its sentinel. Addresses are those of the outermost header,
in a tunnel of the innermost. A message that is only quoted inside an ICMP error has no ports and role PEER.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from grid_profiles.schema import Alternatives, Profile, TsharkMap
from grid_profiles.vocabulary import ANY_POINT, MISSING, NO_TEXT, Flag, Role
from sensor.capture.expressions import Compiler, Fields, Number, Numeric
from sensor.names import Names

MAX_POINTS: Final = 65_534
"""Points of one message; a dataset leaf number has 16 bits."""

QUOTED: Final = -2
"""``sport`` of a message that an ICMP error quotes: who sent it cannot be told from the outer header."""

_CACHED: Final = 1 << 16
_NAN: Final = float("nan")
_I32: Final = 1 << 31
_I64: Final = 1 << 63

Row = tuple[Any, ...]
"""Values of one MESSAGE or POINT record, in the order of its dtype."""


class Frame(NamedTuple):
    """What a frame says below the protocols of the profiles; endpoints are numbers of Names, 0 none."""

    number: int  # tshark's, 1-based over the file it read
    ts: int  # ns
    frame: int  # ours
    ip_src: int
    ip_dst: int
    eth_src: int
    eth_dst: int
    sport: int  # -1 without TCP, UDP; QUOTED
    dport: int
    stream: int  # TCP only, else -1
    vlan: int  # of the tag nearest to the payload, 0 none
    payload: int  # bytes that TCP, UDP or the link carries, -1 unknown
    flags: int  # of its first message: REASSEMBLED; of its last: MALFORMED, TRUNCATED


class Interner:
    """Numbers for texts and addresses, remembered close at hand; the memory is bounded."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self._texts: dict[str, int] = {"": NO_TEXT}
        self._endpoints: dict[str, int] = {"": 0}

    def text(self, text: str) -> int:
        """Number of a text, 0 for ""."""
        ident = self._texts.get(text)
        if ident is None:
            ident = _remember(self._texts, text, self.names.intern_text(text), NO_TEXT)
        return ident

    def endpoint(self, text: str) -> int:
        """Number of an address; 0 for "" and for what is no address."""
        ident = self._endpoints.get(text)
        if ident is None:
            try:
                number = self.names.intern_endpoint(text)
            except ValueError:
                number = 0
            ident = _remember(self._endpoints, text, number, 0)
        return ident


def _remember(table: dict[str, int], key: str, ident: int, empty: int) -> int:
    if len(table) >= _CACHED:
        table.clear()
        table[""] = empty
    table[key] = ident
    return ident


class ProfileRows:
    """Rows of one profile.

    Parameters
    ----------
    profile : Profile
        With a ``tshark`` section.
    interner : Interner
    compiler : Compiler
    """

    def __init__(self, profile: Profile, interner: Interner, compiler: Compiler) -> None:
        assert profile.tshark is not None
        self.profile = profile
        self._intern = interner
        self._ports = profile.transport.ports | _decoded_ports(profile.tshark)
        columns = profile.tshark.columns
        self._kind = _number(compiler, columns.get("kind", ()))
        self._cause = _number(compiler, columns.get("cause", ()))
        self._count = _number(compiler, columns.get("count", ()))
        self._size = _number(compiler, columns.get("size", ()))
        self._seq = _number(compiler, columns.get("seq", ()))
        self._state = _number(compiler, columns.get("state", ()))
        self._aux = _number(compiler, columns.get("aux", ()))
        self._value = _number(compiler, columns.get("value", ()))
        self._name = _text(compiler, columns.get("name", ()), interner)
        self._ident = _text(compiler, columns.get("ident", ()), interner)
        self._point = self._point_function(compiler, columns.get("point", ()), ANY_POINT)
        self._flags = [(int(Flag[name]), compiler.holds(alt)) for name, alt in profile.tshark.flags.items()]
        talk = profile.tshark.conversation
        self._role_name, self._layer = talk.role, talk.layer
        self._role_of = _number(compiler, talk.role_of)
        self._port_of = _number(compiler, talk.port)
        self._sub = _text(compiler, talk.sub, interner)
        self._conversations: dict[tuple[int, ...], tuple[int, int, int, int]] = {}
        self._prepare_points(compiler)

    def _prepare_points(self, compiler: Compiler) -> None:
        assert self.profile.tshark is not None
        values = self.profile.tshark.values
        self.starts: tuple[str, ...] = values.start if values else ()
        columns = values.columns if values else {}
        self._own_point = "point" in columns
        self._point_point = self._point_function(compiler, columns.get("point", ()), None)
        self._point_value = _number(compiler, columns.get("value", ()))
        self._point_kind = _number(compiler, columns.get("kind", ()))
        self._point_quality = _number(compiler, columns.get("quality", ()))

    def _point_function(
        self, compiler: Compiler, alternatives: Alternatives, entry: int | None
    ) -> Callable[[Fields], int]:
        """Object code of a message (``entry`` ANY_POINT) or, before its entry number, of a point (None)."""
        functions: list[Callable[[Fields], int]] = []
        goose = self.profile.points_format in ("goose", "sv")
        for one in alternatives:
            if one.terms:
                functions.append(_integer64(compiler.number((one,))))
            else:
                functions.append(_interned(compiler.text((one,)), self._intern, goose, entry))

        def point(fields: Fields) -> int:
            for function in functions:
                code = function(fields)
                if code != MISSING:
                    return code
            return MISSING

        return point

    def message(self, frame: Frame, fields: Fields, share: int, flags: int) -> Row:
        """The MESSAGE record of one PDU.

        Parameters
        ----------
        share : int
            Bytes that count as its size where the profile does not say; -1 unknown.
        flags : int
            Flag bits that the frame adds.
        """
        for flag, holds in self._flags:
            if holds(fields):
                flags |= flag
        role, src, dst, conv = self._conversation(frame, fields)
        size = _int32(self._size(fields))
        value = self._value(fields)
        return (
            frame.ts,
            frame.frame,
            self.profile.id,
            role,
            src,
            dst,
            conv,
            frame.stream,
            _int32(self._kind(fields)),
            _int32(self._cause(fields)),
            self._point(fields),
            _NAN if value is None else _float(value),
            _int32(self._count(fields)),
            share if size == MISSING else size,
            _int64(self._seq(fields)),
            _int64(self._state(fields)),
            _int64(self._aux(fields)),
            self._name(fields),
            self._ident(fields),
            flags,
        )

    def point(self, message: Row, place: int, fields: Fields, entry: int) -> Row | None:
        """The POINT record of one group of fields; None when it is no point.

        Parameters
        ----------
        place : int
            Row of its message in the batch.
        entry : int
            Number of the point in its message, for the goose format.
        """
        code = self._point_point(fields) if self._own_point else message[10]
        if self._own_point and code == MISSING:
            return None
        if self._own_point and self.profile.points_format in ("goose", "sv"):
            code |= entry
        value = self._point_value(fields)
        return (
            message[0],
            message[1],
            place,
            message[2],
            message[6],
            _int32(self._point_kind(fields)),
            code,
            _NAN if value is None else _float(value),
            _int32(self._point_quality(fields)),
        )

    def _conversation(self, frame: Frame, fields: Fields) -> tuple[int, int, int, int]:
        """(role, sender, receiver, conversation)."""
        sub = self._sub(fields)
        port = _int32(self._port_of(fields))
        role = _int32(self._role_of(fields)) if not self._role_name else MISSING
        if self._layer == "ethernet" and (frame.eth_src or frame.eth_dst):
            src, dst, vlan = frame.eth_src, frame.eth_dst, frame.vlan
        elif frame.ip_src or frame.ip_dst:
            src, dst, vlan = frame.ip_src, frame.ip_dst, 0
        else:
            src, dst, vlan = frame.eth_src, frame.eth_dst, frame.vlan
        key = (src, dst, frame.sport, frame.dport, role, port, sub, vlan)
        known = self._conversations.get(key)
        if known is None:
            if len(self._conversations) >= _CACHED:
                self._conversations.clear()
            known = self._conversations[key] = self._open(*key)
        return known

    def _open(
        self, src: int, dst: int, sport: int, dport: int, role: int, port: int, sub: int, vlan: int
    ) -> tuple[int, int, int, int]:
        if sport == QUOTED:
            role = int(Role.PEER)
        elif role not in _ROLES:
            role = self._usual_role(sport, dport)
        served = sport if role == Role.SERVER else dport
        if port == MISSING:
            port = max(served, 0)
        client, server = (dst, src) if role == Role.SERVER else (src, dst)
        conv = self._intern.names.intern_conversation(self.profile.id, client, server, port, sub, vlan)
        return role, src, dst, conv

    def _usual_role(self, sport: int, dport: int) -> int:
        if self._role_name == "publisher":
            return int(Role.PUBLISHER)
        if self._role_name == "peer" or sport < 0 or sport == dport:
            return int(Role.PEER)
        from_server, to_server = sport in self._ports, dport in self._ports
        if from_server != to_server:
            return int(Role.CLIENT if to_server else Role.SERVER)
        return int(Role.CLIENT if dport < sport else Role.SERVER)  # the lower port serves


_ROLES: Final = frozenset(int(role) for role in Role if role != Role.UNKNOWN)


def _decoded_ports(tshark: TsharkMap) -> frozenset[int]:
    """Ports of ``decode_as`` rules such as ``udp.port==4059,dlms``."""
    ports = set()
    for rule in tshark.decode_as:
        where, _, what = rule.partition("==")
        port = what.partition(",")[0]
        if where in ("tcp.port", "udp.port") and port.isdecimal():
            ports.add(int(port))
    return frozenset(ports)


def _nothing(_: Fields) -> None:
    return None


def _number(compiler: Compiler, alternatives: Alternatives) -> Numeric:
    return compiler.number(alternatives) if alternatives else _nothing


def _text(compiler: Compiler, alternatives: Alternatives, interner: Interner) -> Callable[[Fields], int]:
    if not alternatives:
        return lambda _: NO_TEXT
    text = compiler.text(alternatives)

    def interned(fields: Fields) -> int:
        found = text(fields)
        return interner.text(found) if found else NO_TEXT

    return interned


def _interned(
    text: Callable[[Fields], str | None], interner: Interner, goose: bool, entry: int | None
) -> Callable[[Fields], int]:
    def code(fields: Fields) -> int:
        found = text(fields)
        if not found:
            return MISSING
        ident = interner.text(found)
        return ident << 16 | (entry or 0) if goose else ident

    return code


def _integer64(number: Numeric) -> Callable[[Fields], int]:
    return lambda fields: _int64(number(fields))


def _int32(number: Number | None) -> int:
    whole = _whole(number)
    return whole if -_I32 <= whole < _I32 else MISSING


def _int64(number: Number | None) -> int:
    whole = _whole(number)
    return whole if -_I64 <= whole < _I64 else MISSING


def _whole(number: Number | None) -> int:
    if number is None:
        return MISSING
    if isinstance(number, int):
        return number
    return int(number) if math.isfinite(number) else MISSING


def _float(number: Number) -> float:
    try:
        return float(number)
    except OverflowError:
        return _NAN

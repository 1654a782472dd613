"""Frame in, messages out: the slow twin of ``sensor.native``."""

from __future__ import annotations

from dataclasses import dataclass

from grid_profiles.vocabulary import ANY_POINT, Flag
from sensor.names import printable
from tests.reference import goose, iec104, modbus, network, streams
from tests.reference.rows import CLIENT, PEER, PUBLISHER, SERVER, Message, Point

PORTS = {502: "modbus", 2404: "iec104"}
MAX_FRAME = 66_000
SYN_ROW, SYNACK_ROW, FIN_ROW, RST_ROW, MIDSTREAM_ROW, CONFLICT_ROW, UNSEEN_ROW = 1, 2, 3, 4, 5, 6, 7
SETTLED = 20_000_000
SEGMENT = 1460


@dataclass
class Asked:
    """A Modbus request that waits for its response."""

    frame: int
    point: int
    count: int


@dataclass
class Now:
    """What the messages of one frame have in common."""

    ts: int
    frame: int
    src: str = ""
    dst: str = ""
    role: int = PEER
    stream: int = -1
    client: str = ""
    server: str = ""
    port: int = 0
    flags: int = 0


class Reference:
    """Decodes the frames of one capture, one call each."""

    def __init__(self, ports: dict[int, str] = PORTS) -> None:
        self._connections = streams.Connections(ports)
        self._asked: dict[tuple[int, int, int, int], Asked] = {}
        self._out: list[Message] = []
        self._now = Now(0, 0)

    def frame(
        self, ts: int, number: int, data: bytes, wirelen: int | None = None, link: int = 1
    ) -> list[Message]:
        """Messages that end in this frame; ``wirelen`` says when the capture holds less than was sent."""
        self._out = []
        self._now = Now(ts, number)
        wirelen = len(data) if wirelen is None else wirelen
        self._frame(data[:MAX_FRAME], wirelen, link)
        return self._out

    # --- rows ---------------------------------------------------------------------------------------------

    def _row(self, proto: str, conv: tuple[str, str, int, str, int]) -> Message:
        now = self._now
        row = Message(
            now.ts, now.frame, proto, now.role, now.src, now.dst, (proto, *conv), now.stream, flags=now.flags
        )
        self._out.append(row)
        return row

    def _plain(self, proto: str, kind: int, size: int, vlan: int = 0) -> None:
        """A frame that is not read further."""
        now = self._now
        now.role = PEER
        row = self._row(proto, (now.src, now.dst, kind, "", vlan))
        row.kind, row.size = kind, size

    # --- layers -------------------------------------------------------------------------------------------

    def _frame(self, data: bytes, wirelen: int, link_type: int) -> None:
        now = self._now
        try:
            link = network.link_layer(data, link_type)
        except network.Broken:
            return
        if link is None:
            return
        now.src, now.dst = link.src, link.dst
        if link.ethertype in (network.IPV4, network.IPV6):
            self._internet(link, wirelen)
        elif link.ethertype != network.GOOSE or not link.ethernet or not self._goose(link, data, wirelen):
            self._plain("ethernet", link.ethertype, wirelen, link.vlan)

    def _internet(self, link: network.Link, wirelen: int) -> None:
        now = self._now
        parse = network.ipv4 if link.ethertype == network.IPV4 else network.ipv6
        try:
            packet = parse(link.payload)
        except network.Broken:
            packet = None
        if packet is None:
            self._plain("ethernet", link.ethertype, wirelen)
            return
        now.src, now.dst = packet.src, packet.dst
        if packet.proto == 6 and not packet.fragment:
            self._tcp(packet)
        elif packet.proto == 17 and not packet.fragment:
            self._udp(packet, wirelen)
        else:
            self._plain("ip", packet.proto, wirelen)

    def _udp(self, packet: network.Packet, wirelen: int) -> None:
        """RFC 768; the side with the lower port serves."""
        now = self._now
        if min(len(packet.payload), packet.sent) < 8:
            self._plain("ip", 17, wirelen)
            return
        sport = int.from_bytes(packet.payload[0:2], "big")
        dport = int.from_bytes(packet.payload[2:4], "big")
        asks = dport <= sport
        now.role = CLIENT if asks else SERVER
        conv = (packet.src, packet.dst, dport) if asks else (packet.dst, packet.src, sport)
        row = self._row("udp", (*conv, "", 0))
        row.kind, row.size = 0, wirelen

    def _goose(self, link: network.Link, data: bytes, wirelen: int) -> bool:
        now = self._now
        pdu = goose.parse(link.payload, whole=wirelen <= len(data))
        if pdu is None:
            return False
        now.role = PUBLISHER
        reference = _text(pdu.reference)
        row = self._row("goose", (now.src, now.dst, pdu.appid, reference, link.vlan))
        row.kind, row.cause, row.count, row.size = pdu.kind, pdu.conf_rev, pdu.count, pdu.size
        row.seq, row.state, row.aux, row.value = pdu.sq_num, pdu.st_num, pdu.tal, pdu.time
        if pdu.truncated and pdu.size > 0:
            told = int.from_bytes(link.payload[2:4], "big")
            row.size = min(told, len(link.payload) + wirelen - len(data))
        row.name, row.ident = _text(pdu.dataset), _text(pdu.goid)
        if pdu.reference is not None:
            row.point = (reference, ANY_POINT)
        row.flags |= (Flag.TEST if pdu.test else 0) | (Flag.COMMISSIONING if pdu.commissioning else 0)
        row.flags |= (Flag.MALFORMED if pdu.malformed else 0) | (Flag.TRUNCATED if pdu.truncated else 0)
        for index, (tag, value, quality) in enumerate(pdu.entries):
            row.points.append(Point(tag, (reference, index), value, quality))
        return True

    # --- TCP ----------------------------------------------------------------------------------------------

    def _tcp(self, packet: network.Packet) -> None:
        seg = streams.segment(packet.payload, packet.sent)
        if seg is None:
            return
        now = self._now
        connection, side = self._connections.find(packet.src, packet.dst, seg)
        now.stream = connection.stream
        self._point_of_view(seg, connection.opener == side)
        half = connection.halves[side]
        self._connection_rows(connection, half, seg)
        if seg.flags & streams.ACK:
            self._acknowledged(connection.halves[1 - side], seg.ack)
        if seg.sent <= 0:
            return
        self._point_of_view(seg, connection.master == side)
        start = (seg.seq + 1) % streams.WRAP if seg.flags & streams.SYN else seg.seq
        self._data(connection, half, seg, start)
        if seg.flags & streams.FIN and half.next == (start + seg.sent) % streams.WRAP:
            half.next = (half.next + 1) % streams.WRAP
            half.tail = b""

    def _point_of_view(self, seg: streams.Segment, client_sends: bool) -> None:
        now = self._now
        now.role = CLIENT if client_sends else SERVER
        now.client, now.server = (now.src, now.dst) if client_sends else (now.dst, now.src)
        now.port = seg.dport if client_sends else seg.sport

    def _connection_rows(
        self, connection: streams.Connection, half: streams.Half, seg: streams.Segment
    ) -> None:
        if seg.flags & streams.SYN:
            connection.opened = True
            half.next = (seg.seq + 1) % streams.WRAP
            half.tail = b""
            self._tell(SYNACK_ROW if seg.flags & streams.ACK else SYN_ROW, seg.sent)
        elif seg.sent > 0 and not connection.opened and not connection.told:
            connection.told = True
            self._now.flags = Flag.MIDSTREAM
            self._tell(MIDSTREAM_ROW, seg.sent)
        if seg.flags & streams.RST:
            self._tell(RST_ROW, seg.sent)
            for side in connection.halves:
                side.waiting, side.kept = b"", None
        elif seg.flags & streams.FIN:
            self._tell(FIN_ROW, seg.sent)

    def _acknowledged(self, half: streams.Half, upto: int) -> None:
        """Missing octets that the receiver has."""
        if not half.unseen or self._now.ts - half.since < SETTLED:
            return
        if (upto - half.edge) % streams.WRAP >= streams.WRAP // 2:
            return
        self._tell(UNSEEN_ROW, half.unseen)
        self._out[-1].count = -(-half.unseen // SEGMENT)
        half.unseen = 0

    def _tell(self, kind: int, size: int) -> None:
        row = self._row("tcp", (self._now.client, self._now.server, self._now.port, "", 0))
        row.kind, row.size = kind, size

    def _data(
        self, connection: streams.Connection, half: streams.Half, seg: streams.Segment, start: int
    ) -> None:
        if seg.sent == 1 and half.next == (start + 1) % streams.WRAP:
            return  # keep-alive probe (RFC 1122 4.2.3.6)
        other_bytes = streams.differs(half, start, seg.payload)
        verdict, old = streams.place(half, start, seg.sent)
        data = seg.payload[old:]
        lost = seg.sent - len(seg.payload)
        alone = verdict in (streams.REPEATED, streams.LATE, streams.OUTSIDE, streams.COVERS)
        if other_bytes and (alone or verdict == streams.OVERLAP):
            self._now.flags |= Flag.CONFLICT
            side = int(half is connection.halves[1])
            self._point_of_view(seg, connection.opener == side)
            self._tell(CONFLICT_ROW, seg.sent)
            self._point_of_view(seg, connection.master == side)
        if verdict in (streams.REPEATED, streams.LATE):
            half.unseen = max(half.unseen - seg.sent, 0)
        if verdict == streams.COVERS:
            missing = half.hole[1] if half.hole else 0
            half.hole = None
            half.unseen = max(half.unseen - missing, 0)
            if half.kept:
                verdict, start = streams.LATE, (start + old) % streams.WRAP
                data = data[:missing]
                lost = missing - len(data)
            else:
                verdict, data = streams.REPEATED, seg.payload
        if verdict == streams.REPEATED:
            self._now.flags |= Flag.RETRANSMITTED
        elif verdict == streams.LATE:
            self._now.flags |= Flag.LATE
            if half.dull:
                return
        elif verdict == streams.OUTSIDE:
            self._now.flags |= Flag.GAP
        elif verdict == streams.GAP:
            self._begin_anew(connection, half)
        if not connection.proto:
            half.gap = False
        elif verdict == streams.LATE and half.kept:
            self._late(connection.proto, half, start, data, lost)
        elif alone:
            self._pdus(connection.proto, data, lost)
        else:
            self._in_order(connection.proto, half, data, lost, verdict)

    def _begin_anew(self, connection: streams.Connection, half: streams.Half) -> None:
        """Behind missing octets."""
        begin, missing = half.hole or (0, 0)
        half.gap = True
        if missing:
            half.unseen += missing
            half.edge, half.since = (begin + missing) % streams.WRAP, self._now.ts
        half.kept = None
        half.dull = half.skip >= missing > 0
        if half.dull:
            half.skip -= missing
            return
        room = streams.ROOM - len(half.waiting) - missing
        if connection.proto and 0 < missing <= streams.HOLE and room > 0:
            half.kept = streams.Hole(self._now.ts, begin, missing, half.waiting, half.skip, room=room)
        half.waiting = b""
        half.skip = 0

    def _in_order(self, proto: str, half: streams.Half, data: bytes, lost: int, verdict: int) -> None:
        joined = verdict in (streams.IN_ORDER, streams.OVERLAP)
        half.tail = b"" if lost else ((half.tail if joined else b"") + data)[-streams.TAIL :]
        if half.gap:
            self._now.flags |= Flag.GAP
        hole = half.kept
        if hole and self._now.ts - hole.ts > streams.WAIT:
            hole = half.kept = None
        edge, fits = (len(hole.behind), hole.follow(data)) if hole and hole.open else (0, False)
        rows, waited = len(self._out), len(half.waiting)
        skipped = min(half.skip, len(data) + lost)
        half.skip -= skipped
        rest = self._complete(proto, half, data[skipped:])
        first = -waited if len(self._out) > rows else None
        if half.waiting and lost:
            half.waiting = b""
        left, begun = self._pdus(proto, rest, lost)
        if first is None and begun is not None:
            first = len(data) - len(rest) + begun
        if left.data:
            half.waiting = left.data
        if left.skip:
            half.skip = left.skip
        if len(self._out) > rows:
            half.gap = False
        if hole and hole.open and (first is not None or lost or not fits):
            hole.open = False
            hole.behind = hole.behind if first is None else hole.behind[: edge + first]

    def _late(self, proto: str, half: streams.Half, start: int, data: bytes, lost: int) -> None:
        """A segment that fills a hole, with what the hole left unread."""
        hole = half.kept
        if hole is None or lost or not hole.fits(self._now.ts, start, len(data)):
            half.kept = None
            self._pdus(proto, data, lost)
            return
        stretch = hole.fill(start, data)
        skipped = min(stretch.skip, len(stretch.data))
        left, begun = self._pdus(
            proto, stretch.data[skipped:], 0, (stretch.own[0] - skipped, stretch.own[1] - skipped)
        )
        left.skip = stretch.skip - skipped
        first = None if begun is None else begun + skipped
        hole.settle(half, start, len(data), stretch.data, first, left)

    def _complete(self, proto: str, half: streams.Half, data: bytes) -> bytes:
        """Give the PDU that waits what it needs; returns what is left."""
        length = modbus.length if proto == "modbus" else iec104.length
        segment = data
        while data and half.waiting:
            need = length(half.waiting)
            if need == 0:  # what waited begins no PDU; the segment is read on its own
                half.waiting = b""
                return segment
            known = need is not None
            # octet by octet until it is known: foreign bytes end with the octet that shows it
            more = max(0, need - len(half.waiting)) if need is not None else 1
            taken, data = data[:more], data[more:]
            half.waiting += taken
            if known and need is not None and len(half.waiting) >= need:
                self._now.flags |= Flag.REASSEMBLED
                pdu, half.waiting = half.waiting[:need], b""
                self._emit(proto, pdu)
        return data

    def _pdus(
        self, proto: str, data: bytes, lost: int, own: tuple[int, int] | None = None
    ) -> tuple[streams.Left, int | None]:
        """All PDUs in ``data``, behind which the capture lost octets of the segment.

        Returns what goes on in the next segment, and where the first PDU began.
        """
        length = modbus.length if proto == "modbus" else iec104.length
        size, first = len(data), None
        while data:
            need, at = length(data), size - len(data)
            if need and need <= len(data):
                first = at if first is None else first
                if own and (at < own[0] or at < own[1] < at + need):
                    self._now.flags |= Flag.REASSEMBLED
                self._emit(proto, data[:need])
                data = data[need:]
            elif need is None or need > 0:
                if not lost:
                    return streams.Left(data), first
                if self._head_only(proto, data, need or 0) and first is None:
                    first = at
                return streams.Left(skip=max(0, (need or 0) - len(data) - lost)), first
            elif proto == "modbus":
                break
            else:
                data = data[iec104.next_start(data) :]
        return streams.Left(), first

    def _head_only(self, proto: str, data: bytes, need: int) -> bool:
        """A PDU whose tail the capture does not hold; False when too little is left for a row."""
        if len(data) < (8 if proto == "modbus" else 12):
            return False
        self._emit(proto, data)
        row = self._out[-1]
        row.points = []
        row.size = max(row.size, need)
        row.flags = (row.flags | Flag.TRUNCATED) & ~Flag.MALFORMED
        return True

    def _emit(self, proto: str, pdu: bytes) -> None:
        (self._modbus if proto == "modbus" else self._iec104)(pdu)
        # what is said about the first message of a segment is not true of the others
        self._now.flags &= Flag.RETRANSMITTED | Flag.LATE | Flag.CONFLICT

    def _iec104(self, pdu: bytes) -> None:
        now = self._now
        row = self._row("iec104", (now.client, now.server, now.port, "", 0))
        found = iec104.parse(pdu)
        row.size = len(pdu)
        row.kind, row.cause, row.count, row.point = found.kind, found.cause, found.count, found.point
        row.seq, row.state, row.aux, row.value = found.seq, found.state, found.originator, found.value
        for present, flag in (
            (found.negative, Flag.NEGATIVE),
            (found.test, Flag.TEST),
            (found.select, Flag.SELECT),
            (found.broadcast, Flag.BROADCAST),
            (found.malformed, Flag.MALFORMED),
        ):
            row.flags |= flag if present else 0
        row.points = [Point(*values) for values in found.objects]

    def _modbus(self, pdu: bytes) -> None:
        now = self._now
        asks = now.role == CLIENT
        found = modbus.parse(pdu, asks)
        row = self._row("modbus", (now.client, now.server, now.port, f"unit {found.unit}", 0))
        row.size = len(pdu)
        row.kind, row.cause, row.point, row.count = found.function, found.exception, found.point, found.count
        row.seq, row.aux, row.value = found.transaction, found.aux, found.value
        for present, flag in (
            (found.negative, Flag.NEGATIVE),
            (found.broadcast, Flag.BROADCAST),
            (found.malformed, Flag.MALFORMED),
        ):
            row.flags |= flag if present else 0
        key = (now.stream, found.transaction, found.unit, found.function)
        base = found.point
        if not asks:
            base = self._answer(row, self._asked.get(key), pdu)
        elif not row.flags & Flag.RETRANSMITTED:
            self._asked[key] = Asked(now.frame, found.read_point, found.read_count)
        if found.function in (5, 6) and found.value == found.value:
            row.points = [Point(found.point >> 16 & 0xFF, found.point, found.value)]
        elif base >= 0 and not found.malformed:
            row.points = _points(base, found.values[: row.count])

    @staticmethod
    def _answer(row: Message, asked: Asked | None, pdu: bytes) -> int:
        """Join a response with its request; the first point read or -1."""
        if asked is None:
            row.flags |= Flag.UNANSWERED
            return -1
        row.state = asked.frame
        if row.point == -1:
            row.point = asked.point
        coils_fit = asked.count > 0 and (asked.count + 7) // 8 == row.count // 8
        if row.kind in (1, 2) and coils_fit:
            row.count = asked.count  # the last octet is padded
        return asked.point


def _points(base: int, values: list[int]) -> list[Point]:
    """Addresses wrap inside their table."""
    return [
        Point(base >> 16 & 0xFF, base & ~0xFFFF | (base + i) & 0xFFFF, float(value))
        for i, value in enumerate(values)
    ]


def _text(octets: bytes | None) -> str:
    return printable((octets or b"")[: goose.MAX_TEXT])

"""Patterns that work alike in every protocol over TCP: flood, suppression, delay, scan of ports, replay."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from sensor.simulate.registry import attack
from sensor.simulate.scene import Connection, text
from sensor.simulate.stage import MS, SECOND, NotOffered, Stage

Values = Callable[[bytes, int], bytes]
"""A payload with other values: (payload, ns since the attack began) to payload of the same size."""


def busiest(stage: Stage, port: int, protocol: str) -> Connection:
    """The connection to a port with the most packets in the time of the attack.

    Raises
    ------
    NotOffered
    """
    talks = stage.scene.talks(port)
    active = sorted(talks, key=lambda talk: (-len(stage.rows(talk.rows)), talk.key))
    if not active or not stage.rows(active[0].rows):
        raise NotOffered(f"a {protocol} connection (TCP port {port}) with data both ways")
    return active[0]


def payload_rows(stage: Stage, talk: Connection, side: int) -> list[int]:
    """Rows with data of one side within the time of the attack."""
    sides = dict(zip(talk.rows, talk.sides, strict=True))
    return [row for row in stage.rows(talk.rows) if sides[row] == side and stage.packet(row).size]


def change_values(stage: Stage, talk: Connection, change: Values, note: str) -> None:
    """Man in the middle: what the server says is changed on its way to the client."""
    changed = 0
    for row in payload_rows(stage, talk, 1):
        packet = stage.packet(row)
        body = change(packet.payload, packet.ts - stage.begin)
        changed += body != packet.payload
        stage.rewrite(row, body)
    if not changed:
        raise NotOffered("measured values in the connection during the attack")
    stage.label(talk.server, talk.client, note)


Number = Callable[[Hashable, float], float]
"""A measured value changed: (what tells the point from others of the conversation, value) to value."""

Numbers = Callable[[bytes, Number], bytes]
"""A payload with other measured values, of the same size."""

RAISED, HIGHEST = 1.4, 1.5


def register_values(
    protocol: str, what: str, needs: str, where: Callable[[Stage], Connection], numbers: Numbers
) -> None:
    """Register the three attacks on values in flight: raised, standing still, creeping away.

    Parameters
    ----------
    protocol : str
        First part of their ids.
    what : str
        What the protocol calls a measured value, plural.
    needs : str
        What the capture must offer.
    where : callable
        Chooses the connection.
    numbers : callable
        Changes the measured values of a payload.
    """
    way = "on their way to the client"

    @attack(
        f"{protocol}-value-shift", "middle", "T0832", f"{what} are raised by two fifths {way}", needs, 180
    )
    def shift(stage: Stage) -> None:
        change_values(
            stage,
            where(stage),
            lambda body, _: numbers(body, lambda _, v: v * RAISED),
            f"{what} × 1.4 in flight",
        )

    @attack(f"{protocol}-value-freeze", "frozen", "T0832", f"{what} stand still {way}", needs, 300)
    def freeze(stage: Stage) -> None:
        kept: dict[Hashable, float] = {}
        change_values(
            stage, where(stage), lambda body, _: numbers(body, kept.setdefault), f"{what} stand still"
        )

    @attack(f"{protocol}-value-drift", "frozen", "T0832", f"{what} creep away {way}", needs, 300)
    def drift(stage: Stage) -> None:
        span = max(1.0, stage.span)

        def creeping(body: bytes, age: int) -> bytes:
            factor = 1 + (HIGHEST - 1) * age / SECOND / span
            return numbers(body, lambda _, v: v * factor)

        change_values(stage, where(stage), creeping, f"{what} creep up to × 1.5 in flight")


def suppress(stage: Stage, talk: Connection, note: str) -> None:
    """Nothing that the server of a connection says arrives; the attacker acknowledges in its name."""
    rows = payload_rows(stage, talk, 1)
    if not rows:
        raise NotOffered("data of the device during the attack")
    for row in rows:
        stage.silence(talk, row, 1)
    stage.label(talk.server, talk.client, note)


def delay(stage: Stage, talk: Connection, least: float, most: float, note: str) -> None:
    """What the server says arrives late and irregularly, in order, and so does all that follows from it."""
    rows = stage.rows(talk.rows)
    if not rows:
        raise NotOffered("packets of the connection during the attack")
    sides = dict(zip(talk.rows, talk.sides, strict=True))
    limit = stage.scene.packets[rows[-1]].ts
    late, last = 0, 0
    for row in rows:
        packet = stage.packet(row)
        if sides[row] == 1 and packet.size:
            late = round(stage.random.uniform(least, most) * SECOND)
        ts = max(packet.ts + late, last + MS // 10)
        if ts >= limit or packet.ts + late < last:
            late = 0
        last = max(last, ts)
        if ts > packet.ts:
            stage.delay(row, ts - packet.ts)
    following = [row for row in talk.rows if row > rows[-1]]
    for row in following:  # nothing overtakes what was held back
        packet = stage.packet(row)
        if packet.ts > last:
            break
        last += MS // 10
        stage.delay(row, last - packet.ts)
    stage.label(talk.server, talk.client, note)


def flood(stage: Stage, talk: Connection, request: Callable[[int], bytes], rate: float, note: str) -> None:
    """A new host opens a connection and asks without waiting for answers."""
    intruder = stage.intruder(talk.server)
    visit = stage.visit(intruder, talk.server, talk.port, stage.begin)
    for number in range(min(5_000, int(rate * stage.span))):
        if visit.late:
            break
        visit.tell(request(number), side=0)
        visit.ts += round(SECOND / rate * stage.random.uniform(0.6, 1.4))
    stage.label(intruder.ip, talk.server, note)


def recorded(stage: Stage, talk: Connection) -> list[tuple[int, bytes, bytes]]:
    """(time, request, answer) of what passed in a connection before the attack; no answer is empty."""
    found: list[tuple[int, bytes, bytes]] = []
    for row, side in zip(talk.rows, talk.sides, strict=True):
        packet = stage.scene.packets[row]
        if packet.ts >= stage.begin:
            break
        if packet.size and side == 0:
            found.append((packet.ts, packet.payload, b""))
        elif packet.size and found and not found[-1][2]:
            found[-1] = (*found[-1][:2], packet.payload)
    return found


def replay_requests(stage: Stage, talk: Connection, note: str, most: int = 20) -> None:
    """What a master said earlier is said again, byte by byte, in a new connection from its address."""
    record = recorded(stage, talk)[-most:]
    if not record:
        raise NotOffered("requests before the attack, to record")
    visit = stage.visit_as(talk.client, talk.server, talk.port, stage.begin)
    previous = record[0][0]
    for ts, request, answer in record:
        visit.ts += min(ts - previous, SECOND)
        previous = ts
        if visit.late:
            break
        visit.ask(request, answer)
    visit.close()
    stage.label(talk.client, talk.server, note)


def involved(stage: Stage, source: bytes, target: bytes, note: str) -> None:
    """Label by MAC or IP addresses."""
    stage.label(text(source), text(target), note)

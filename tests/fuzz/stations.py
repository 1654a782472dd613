"""Good frames of synchrophasors and of what runs over ISO transport."""

from __future__ import annotations

from tests.lab import c37118 as c
from tests.lab import frames as f

CLIENT, SERVER = "10.0.0.1", "10.0.0.2"


def c37118_frames() -> list[f.Stamped]:
    """Every kind over TCP and UDP, several in a segment, floats and integers, one over segment borders."""
    talk = f.Talk(CLIENT, SERVER, 4712)
    talk.open(0)
    pmus = [c.pmu(14, 2, 1, 1), c.pmu(0, 1, 2, 0, "B", 8)]
    data = c.frame(0, c.block(14, 2, 50.1, 0.5, [1.0], 1, 0x4200) + c.block(0, 1, -3, 4, [5, 6]))
    for code in (1, 2, 3, 4, 5, 6):
        talk.client(code, c.command(code))
    talk.client(7, c.command(8, bytes(6)))
    for answer in (
        c.config(pmus),
        c.config(pmus[:1], kind=2),
        c.frame(1, b"hello"),
        c.frame(5, bytes(40)),
        data,
    ):
        talk.server(8, answer)
    talk.server(9, data + data + data[:30])
    talk.server(10, data[30:])
    datagrams = [f.udp_frame(SERVER, CLIENT, 4713, 4712, one) for one in (c.config(pmus), data, data)]
    return talk.frames + [(11, one) for one in datagrams]


def station_frames() -> list[bytes]:
    """All of them, without their times."""
    return [data for _, data in c37118_frames()]

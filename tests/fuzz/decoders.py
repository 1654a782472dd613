"""Good frames of the decoders that have no slow twin: seeds for the invariants, not for the reference."""

from __future__ import annotations

from tests.lab import dlms_frames as c
from tests.lab import dnp3_frames as d
from tests.lab import frames as f

ENDS = ("10.0.0.1", "10.0.0.2")


def decoder_frames() -> list[bytes]:
    """Frames of every such decoder."""
    return [data for _, data in dnp3() + dlms()]


def dnp3() -> list[f.Stamped]:
    """Every layer: link frames, segments, objects of all kinds; TCP and UDP."""
    talk = f.Talk(*ENDS, 20000)
    talk.open(0)
    time = d.time(10**12)
    requests = [
        d.link(0xC9),
        d.request(1, d.everything(60, 2) + d.span(30, 0, 0, 9)),
        d.request(3, d.indexed(12, 1, (1, d.crob(0x41)), (2, d.crob(3)))),
        d.request(2, bytes([50, 1, 7, 1]) + time + d.span(80, 1, 7, 7, b"\0")),
        d.request(25, d.free(70, 3, d.file_command(b"a.txt"))),
        d.request(1, bytes([30, 2, 0x17, 2, 3, 9])),
    ]
    answers = [
        d.link(0x0B),
        d.response(
            d.span(1, 1, 0, 20, bytes(3)) + d.span(30, 2, 0, 1, bytes(6)) + d.span(3, 1, 0, 4, bytes(2))
        ),
        d.response(d.indexed(12, 1, (1, d.crob(0x41, 4))), iin=4),
        d.response(d.indexed(2, 2, (1, b"\x81" + time)) + d.indexed(32, 7, (5, bytes(11))), function=130),
        d.response(
            d.free(70, 5, bytes(40)) + d.indexed(110, 5, (0, b"hello")) + d.span(0, 242, 0, 0, b"\1\3abc")
        ),
        d.response(d.indexed(43, 3, (1, bytes(11))) + d.indexed(22, 5, (1, bytes(11)))),
    ]
    for ask, answer in zip(requests, answers, strict=True):
        talk.client(0, ask)
        talk.server(0, answer + answer)
    parts = d.segments(0x44, b"\xc3\x81\0\0" + d.span(30, 2, 0, 199, bytes(600)))
    for part in parts:
        talk.server(0, part)
    datagrams = [f.udp_frame(*ENDS, 20001, 20000, one) for one in requests]
    datagrams += [f.udp_frame(*reversed(ENDS), 20000, 20001, one) for one in parts + answers]
    return talk.frames + [(0, one) for one in datagrams]


def dlms() -> list[f.Stamped]:
    """Every service in the wrapper and in HDLC, segments too; TCP and UDP."""
    talk = f.Talk(*ENDS, 4059)
    talk.open(0)
    for number, apdu in enumerate(c.EXAMPLES):
        talk.client(0, c.wrapper(apdu))
        talk.server(0, c.hdlc(0x30, c.answered(apdu), answer=True) + c.hdlc(0x93))
        talk.server(0, c.hdlc(0x10, c.answered(apdu), answer=True, more=number % 3 == 0))
    datagrams = [f.udp_frame(*ENDS, 5000, 4059, c.wrapper(apdu)) for apdu in c.EXAMPLES]
    return talk.frames + [(0, one) for one in datagrams]

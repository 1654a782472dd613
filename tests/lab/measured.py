"""Half hours of measurements: DNP3, synchrophasors and sampled values whose quantities swing as real ones do.

``change`` gets a quantity's name, the second since the begin and the value, and may return another value or
None (the device marks it as bad); so a test says what went wrong and when. Deterministic.
"""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Callable
from functools import cache

import numpy as np
import numpy.typing as npt

from sensor.simulate.build import bus, dnp3
from sensor.simulate.build.net import Stamped, udp_frame
from tests.lab import c37118
from tests.lab.quiet import BEGIN, CLIENT, SECOND, SERVER, polled

Change = Callable[[str, float, float], float | None]
"""(quantity, second, value) to value."""

ONLINE, RESTART = 0x01, 0x02
PDC_PORT = 4713
PER_SECOND = 10
MU_RATE, MU_ASDUS = 800, 8


def nothing(_: str, __: float, value: float) -> float | None:
    """All as it was."""
    return value


def swing(second: float, middle: float, width: float, seed: int) -> float:
    """A quantity: waves of minutes and of half a minute, and noise."""
    noise = random.Random(f"{second} {seed}").gauss(0, 0.04)
    return middle + width * (
        0.6 * math.sin(second / (70 + 9 * seed) + seed) + 0.3 * math.sin(second / 23 + 2 * seed) + noise
    )


def dnp3_polls(begin: int, seconds: int, change: Change = nothing) -> list[Stamped]:
    """A poll a second: power, voltage, current as analog inputs, a breaker, a counter."""

    def one(name: str, second: float, value: float, form: str) -> bytes:
        told = change(name, second, value)
        number = 0.0 if told is None else told
        packed = struct.pack(form, number if form == "<f" else round(number))
        return bytes([RESTART if told is None else ONLINE]) + packed

    def turn(number: int) -> tuple[bytes, bytes]:
        second = begin + number
        power = one("power", second, swing(second, 40_000, 4_000, 1), "<i")
        volts = one("voltage", second, swing(second, 110.0, 0.8, 2), "<f")
        amps = one("current", second, swing(second, 400, 60, 3), "<h")
        objects = dnp3.span(1, 2, 0, 0, b"\x81") + dnp3.span(30, 1, 0, 0, power)
        objects += dnp3.span(30, 5, 1, 1, volts) + dnp3.indexed(30, 2, (2, amps))
        objects += dnp3.span(20, 1, 0, 0, b"\1" + struct.pack("<I", 5_000 + 3 * int(second)))
        read = dnp3.everything(60, 1)
        delay = 5 + random.Random(number).randrange(20)
        if number % 10 == 5:
            measure = bytes([52, 2, 7, 1]) + struct.pack("<H", delay if number % 990 != 495 else 900)
            return dnp3.request(23, seq=number & 15), dnp3.response(measure, seq=number & 15)
        return dnp3.request(1, read, seq=number & 15), dnp3.response(objects, seq=number & 15)

    frames = polled(20_000, turn, seconds)
    return [(ts + begin * SECOND, frame) for ts, frame in frames]


def phasors(begin: int, seconds: int, change: Change = nothing) -> list[Stamped]:
    """A PMU that reports ten times a second: frequency, its rate of change, power as an analog."""
    form, frames = 0b1100, list[Stamped]()

    def send(at: float, octets: bytes) -> None:
        frames.append((BEGIN + round(at * SECOND), udp_frame(SERVER, CLIENT, PDC_PORT, PDC_PORT, octets)))

    for number in range(seconds * PER_SECOND):
        at = begin + number / PER_SECOND
        if number % (60 * PER_SECOND) == 0:
            send(at, _stamped(c37118.config([c37118.pmu(form, 1, 1, 0)], rate=PER_SECOND), at))
        hertz = change("frequency", at, swing(at, 50.0, 0.02, 4))
        rate, power = swing(at, 0.0, 0.01, 5), change("power", at, swing(at, 25.0, 3.0, 6))
        status = 0 if hertz is not None and power is not None else 0x8000
        data = c37118.block(form, 1, hertz or 0.0, rate, [power or 0.0], status=status)
        send(at + 0.002, _stamped(c37118.frame(0, data), at))
    return frames


def _stamped(frame: bytes, at: float) -> bytes:
    """The frame with its second and fraction, the check word right."""
    whole = int(at)
    clock = struct.pack("!II", 1_700_000_000 + whole, round((at - whole) * 1_000_000))
    body = frame[:6] + clock + frame[14:-2]
    return body + struct.pack("!H", c37118.crc(body))


@cache
def _empty() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Frames of a second, shape (frames, octets), and where the values of each ASDU begin in them."""
    marks = [bus.sv_data([0x5A5A5A5A] * 8)] * MU_RATE
    asdus = [bus.sv_asdu(count, data, rate=MU_RATE) for count, data in enumerate(marks)]
    groups = [asdus[at : at + MU_ASDUS] for at in range(0, MU_RATE, MU_ASDUS)]
    frames = [bus.sv_frame(bus.sv_pdu(group)) for group in groups]
    places = [at for at in range(len(frames[0])) if frames[0].startswith(marks[0], at)]
    return np.array([list(frame) for frame in frames], np.uint8), np.array(places)


def samples(begin: int, seconds: int, change: Change = nothing) -> list[Stamped]:
    """A merging unit (9-2LE, eight samples a frame): currents and voltages swing, with a little noise."""
    empty, places = _empty()
    frames: list[Stamped] = []
    phase = 2 * np.pi * 50 * np.arange(MU_RATE) / MU_RATE
    octets = places[:, None, None] + 8 * np.arange(8)[None, :, None] + np.arange(4)
    for second in range(begin, begin + seconds):
        noise = np.random.default_rng(second)
        values = np.zeros((MU_RATE, 8))
        for name, first, middle, width, counts in (
            ("current", 0, 440.0, 30.0, bus.LE_CURRENT), ("voltage", 4, 64_000.0, 300.0, bus.LE_VOLTAGE)
        ):  # fmt: skip
            told = change(name, second, swing(second, middle, width, 7 + first))
            rms = middle if told is None else told
            peak = rms * counts * math.sqrt(2)
            for k in range(3):
                wave = np.sin(phase - 2 * np.pi * k / 3) + noise.normal(0, 1e-3, MU_RATE)
                values[:, first + k] = peak * wave
            values[:, first + 3] = values[:, first : first + 3].sum(axis=1)
        made = empty.copy()
        shaped = values.round().astype(">i4").reshape(-1, MU_ASDUS, 8, 1).view(np.uint8)
        made[:, octets] = shaped.reshape(-1, MU_ASDUS, 8, 4)
        pause = SECOND // len(made)
        frames += [(BEGIN + second * SECOND + n * pause, row.tobytes()) for n, row in enumerate(made)]
    return frames

"""What a step between two steady stretches of currents and voltages can be, from their RMS alone.

Kirchhoff's current law bounds what one phase may do without the neutral; a source with an impedance ties a
short circuit's current to its voltage; a factor that is one and the same in all phases and in the neutral,
noise and harmonics included, is arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

STEADY: Final = 0.03
"""Share by which two seconds of a steady stretch may differ."""

QUIET: Final = 0.01
"""Share of the largest by which all may differ where there was no step."""

ALIKE: Final = 0.01
"""Share by which factors may differ that are the same: seconds cut periods, and loads go on drifting."""

LEAST: Final = 0.1
"""Share by which currents must change to be a step; loads of a feeder do less all the time."""

LEAST_VOLTS: Final = 0.05
"""The same for voltages; a tap changer does 1 to 2 %."""

TELLING: Final = 0.008
"""Spread of the phases' factors, expected of a balanced load, from which its absence means something."""

KEPT: Final = 0.02
WEIGHT: Final = 0.005
"""Share of the phase currents from which a neutral current is one, and not the noise of the converter."""

AMPERE: Final = 0.05
"""Phase currents below (A) are those of an open breaker."""

OVER: Final = 3.0
COLLAPSED, FLOWS = 0.2, 0.1
"""Shares of a voltage and of a current below which they are gone."""

Values = tuple[float, ...]


@dataclass(slots=True)
class Step:
    """What was found.

    Attributes
    ----------
    factor, volts : float or None
        Factor of all currents with the neutral's, at constant voltages; of all voltages at constant currents.
    exact : float or None
        Factor of the phase currents alone, nearer to one factor than what is added to unequal phases can be.
    lonely : (phase, change in A, neutral current in A) or None
        One phase changed by more than the neutral current allows.
    over : (phase, factor) or None
        Current of several times the load in one or two phases, at constant voltage.
    blind, zero : bool
        Voltages gone while currents flow; currents of exactly 0 where there were some, at constant voltages.
    """

    factor: float | None = None
    volts: float | None = None
    exact: float | None = None
    lonely: tuple[int, float, float] | None = None
    over: tuple[int, float] | None = None
    blind: bool = False
    zero: bool = False


def unmoved(first: Values, last: Values) -> bool:
    """Do two seconds lie so near to each other that :func:`step_of` finds no step between steady stretches?

    Then their means differ by :data:`QUIET` and :data:`STEADY` of the largest at most.
    """
    if not first or not last:
        return True  # nothing is known of the channels
    a, b, c, _, u, v, w, _ = first
    d, e, f, _, x, y, z, _ = last
    amperes, volts = QUIET * max(a, b, c), QUIET * max(u, v, w)
    return (
        -amperes <= a - d <= amperes
        and -amperes <= b - e <= amperes
        and -amperes <= c - f <= amperes
        and -volts <= u - x <= volts
        and -volts <= v - y <= volts
        and -volts <= w - z <= volts
    )


def step_of(windows: Sequence[Values]) -> Step | None:
    """The step between the first two and the last two of five seconds; None where there is none.

    Each is eight RMS values, or empty where nothing is known of the channels.
    """
    if any(len(values) != 8 for values in windows):
        return None
    first, second, _, fourth, last = windows
    if not (_steady(first, second) and _steady(fourth, last)):
        return None
    before = [(a + b) / 2 for a, b in zip(first, second, strict=True)]
    after = [(a + b) / 2 for a, b in zip(fourth, last, strict=True)]
    currents, volts = max(before[:3]), max(before[4:7])
    if currents < AMPERE:
        return None
    step = Step()
    kept = all(abs(a - b) <= KEPT * volts for a, b in zip(after[4:7], before[4:7], strict=True))
    ratios = [a / b if b > 0 else 0.0 for a, b in zip(after, before, strict=True)]
    if kept and volts > 0:
        noisy = all(a != b for a, b in zip(first[:4], second[:4], strict=True))
        step.zero = noisy and max(after[:3]) == 0.0
        _currents(step, before, after, ratios)
    flat = all(abs(ratio - 1) <= STEADY for ratio in ratios[:3])
    factor = _common(ratios[4:7])
    if flat and factor is not None and abs(factor - 1) >= LEAST_VOLTS and factor > COLLAPSED:
        step.volts = factor
    gone = volts > 0 and max(after[4:7]) < COLLAPSED * volts
    step.blind = gone and min(after[:3]) > FLOWS * currents and max(ratios[:3]) < 1 + LEAST
    found = step.factor, step.volts, step.exact, step.lonely, step.over
    return step if step.blind or step.zero or any(one is not None for one in found) else None


def _currents(step: Step, before: list[float], after: list[float], ratios: list[float]) -> None:
    """Steps of currents at constant voltages."""
    neutral = before[3] >= WEIGHT * max(before[:3])
    factor = _common(ratios[:4]) if neutral else None
    if factor is not None and factor > FLOWS and abs(factor - 1) >= LEAST:
        step.factor = factor
        return
    step.exact = _exact(before, ratios)
    moved = [phase for phase in range(3) if abs(ratios[phase] - 1) > KEPT]
    if len(moved) == 1 and neutral:
        phase = moved[0]
        change, room = abs(after[phase] - before[phase]), before[3] + after[3]
        others = sum(abs(after[p] - before[p]) for p in range(3) if p != phase)
        if change > LEAST * max(before[:3]) and change > 1.2 * room + others:
            step.lonely = (phase, change, after[3])
    high = [phase for phase in range(3) if ratios[phase] >= OVER]
    if 1 <= len(high) <= 2:
        phase = max(high, key=lambda p: ratios[p])
        if after[phase] >= OVER * max(before[:3]):
            step.over = (phase, ratios[phase])


def _exact(before: list[float], ratios: list[float]) -> float | None:
    """A factor of three unequal phases, where a balanced load on top would change each by another one."""
    low, high = min(ratios[:3]), max(ratios[:3])
    factor = sum(ratios[:3]) / 3
    if low <= FLOWS or abs(factor - 1) < LEAST:
        return None
    unequal = (max(before[:3]) - min(before[:3])) / max(before[:3])
    spread = unequal * abs(factor - 1) / factor
    return factor if spread >= TELLING and high / low - 1 <= spread / 5 else None


def _common(ratios: list[float]) -> float | None:
    """The factor that these are, None where they are not one."""
    low, high = min(ratios), max(ratios)
    return sum(ratios) / len(ratios) if low > 0 and high <= low * (1 + ALIKE) else None


def _steady(one: Values, two: Values) -> bool:
    """Do two seconds show the same, as far as it has weight?"""
    for group in (slice(0, 3), slice(4, 7)):
        most = max(*one[group], *two[group])
        if any(abs(a - b) > STEADY * most for a, b in zip(one[group], two[group], strict=True)):
            return False
    return True

"""S7comm data that nobody names: which octets of an array of BYTE are REAL, which are words, which neither.

Panels read data blocks as arrays of BYTE. The native engine gives their contents twice: as words at even
addresses, ``DB1.DBW12 (bytes)``, and as REAL wherever four octets can be one, ``DB1.DBD12 (bytes as REAL)``.
After learning, :func:`settle` keeps one reading of each octet, going up the addresses, and forgets the other
in all tables of process values, so that nobody judges it:

- four octets are a REAL when all that was seen of them can be one, not all of it zero, and their lower word
  stood still or leapt through its range as a fraction does; two integers side by side move each for itself;
- an upper word is forgotten when the lower one leaps, as in a counter of 32 bits;
- a word that leaps through its own range, such as a mode or bits that alarms share, has no range, and is
  forgotten;
- words are kept out of groups of points that move together: a slow drift makes anything look alike;
- what stood still is kept: that it changed is told, at info, for a block holds parameters too.

Forgetting is safe: a reading that is wrong costs what would have been seen, and no false alarm. Which program
wrote a block is not on the wire, so that no reading is sure.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from detectors.baseline import Baseline
from detectors.groups import ConvKey
from detectors.tables import conv_of

PROTOCOL: Final = "s7comm"
WORDS, REALS = " (bytes)", " (bytes as REAL)"
TABLES: Final = ("values", "motion", "samples", "states", "feedback")
"""Tables of process values, by point."""

LEAP: Final = 8_192.0
"""Change from one word to the next that a quantity does not make, and the fraction of a REAL does."""

LEAPS: Final = 0.5
"""Share of its own range that a word leaps at once and that makes it no quantity."""

PLACE: Final = re.compile(r"(.*?)([WD])(\d+)(?: \(bytes\)| \(bytes as REAL\))")
SAME: Final = {"(REAL)": REALS, "(INT)": WORDS, "(WORD)": WORDS}
"""Types that are written to what is read as octets."""


@dataclass(slots=True)
class _Block:
    """Statistics of the words and the possible REALs of one block, by address."""

    words: dict[int, Any] = field(default_factory=dict)
    reals: dict[int, Any] = field(default_factory=dict)


def untyped(point: str) -> bool:
    """Is this the text of a point whose type is a guess?"""
    return point.endswith((WORDS, REALS))


def same_octets(point: str) -> str:
    """Text of the octets that a typed element is made of, "" none."""
    head, _, type_ = point.rpartition(" ")
    octets = SAME.get(type_)
    return head + octets if octets else ""


def settle(baseline: Baseline) -> None:
    """Forget all readings of untyped data but one."""
    blocks: dict[tuple[ConvKey, str], _Block] = defaultdict(_Block)
    for row in baseline.rows("values"):
        found = PLACE.fullmatch(row.point) if row.protocol == PROTOCOL else None
        if found:
            block = blocks[conv_of(row), found[1]]
            (block.reals if found[2] == "D" else block.words)[int(found[3])] = row
    gone = {
        (conv, f"{name}{what}")
        for (conv, name), block in blocks.items()
        for what in _others(block)
    }  # fmt: skip
    if not blocks:
        return
    for name in TABLES:
        rows = baseline.rows(name)
        kept = [(conv_of(row), row.point) not in gone and _fits(name, row) for row in rows]
        baseline.tables[name] = baseline.tables[name][np.array(kept, bool)].reset_index(drop=True)


def _fits(table: str, row: Any) -> bool:
    """May a reading that is kept stand in this table?"""
    if table == "samples":
        return row.protocol != PROTOCOL or not row.point.endswith(WORDS)
    return table != "states" or not (untyped(row.point) or untyped(row.other))


def _others(block: _Block) -> list[str]:
    """Readings that are not kept."""
    gone = []
    place = -1
    for at in sorted(block.words):
        if at < place:  # the lower half of a REAL
            gone += [f"W{at}{WORDS}", f"D{at}{REALS}"]
            continue
        upper, lower = block.words[at], block.words.get(at + 2)
        real = block.reals.get(at)
        if real is not None and lower is not None and _is_real(upper, lower, real):
            gone.append(f"W{at}{WORDS}")
            place = at + 4
            continue
        gone.append(f"D{at}{REALS}")
        counts = lower is not None and _spread(lower) > 2 * LEAP and _spread(upper) < _spread(lower)
        if counts or _leaps(upper):
            gone.append(f"W{at}{WORDS}")
    return gone


def _is_real(upper: Any, lower: Any, real: Any) -> bool:
    if real.count < upper.count or real.low == real.high == 0:
        return False
    return bool(_spread(lower) == 0 or lower.step >= LEAP or _spread(lower) >= 2 * LEAP)


def _leaps(word: Any) -> bool:
    return bool(word.step > LEAPS * _spread(word))


def _spread(row: Any) -> float:
    return float(row.high - row.low)

"""Objects that a conversation addresses (information objects, registers, topics), against the learned list.

A part of the allow-lists. An object that the conversation already knows under another kind of message
(the same point with a time tag, after an interrogation) is no news worth a notice. Commands to objects
never commanded are louder where commands are many, and loudest when several come within a minute.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from detectors.allowlist_learner import MAX_POINTS, PointKey
from detectors.base import Finding, Level, Slice
from detectors.baseline import Baseline
from detectors.calibration import news_rate
from detectors.groups import HOUSEKEEPING, ConvKey, Lens, Numbered, addressed, column
from detectors.news import MATURE, Sweeps, news_finding, object_text, ordinary, sender, technique
from detectors.saturation import EXPECTED, FULL, Saturation, doubt, lowered
from detectors.tables import conv_of
from grid_profiles.vocabulary import DANGEROUS, KindClass, Role

WIDE: Final = 20
"""From so many objects on, a new one between the lowest and the highest known is only a notice."""

S7_ANSWERS, S7_ANSWER = 768, 512
"""First kind of the answers of S7comm, and how much higher than its job's an answer's kind is."""

DNP3_STATIC: Final = {2: 1, 4: 3, 11: 10, 22: 20, 23: 21, 32: 30, 33: 31, 42: 40}
"""Static group of each group of events (IEEE 1815-2012, annex A)."""

DNP3_ECHOES: Final = (12, 41)
"""Controls; a response that carries them repeats its request."""

NONE: Final = -(1 << 40)
"""No kind of message."""

WEB: Final = frozenset({"http"})
"""Protocols whose servers have more objects than learning meets: a new one that is read is no warning."""


@dataclass(slots=True)
class Known:
    """Known objects of one (conversation, kind)."""

    texts: set[str]
    codes: tuple[int, int]
    news: float
    most: int


class Objects:
    """Judges objects; asked by the allow-list for rows of known conversations.

    Attributes
    ----------
    fine : set of (int, int, int)
        Conversations, kinds and objects of this run of which there is nothing to say; bounded.
    """

    def __init__(self, baseline: Baseline, lens: Lens, full: Saturation) -> None:
        self.lens = lens
        self._points = known_points(baseline)
        self._anywhere: dict[ConvKey, set[str]] = {}
        for (conv, _), known in self._points.items():
            self._anywhere.setdefault(conv, set()).update(known.texts)
        for row in baseline.rows("values"):  # messages that carry several objects are listed by their first
            self._anywhere.setdefault(conv_of(row), set()).add(row.point)
        self._full = full
        self._sweeps: Sweeps[tuple[int, int], int] = Sweeps()
        self.fine: set[tuple[int, int, int]] = set()
        self._numbered = Numbered(MAX_POINTS)
        self._fine_kind = np.full(1_024, NONE, np.int64)  # by number: one kind of the object that is fine
        self._once: set[tuple[int, int]] = set()
        self._dnp3: dict[ConvKey, set[tuple[int, str]]] = {}

    def unknown(self, piece: Slice) -> list[tuple[int, int, int, int]]:
        """(conv, kind, point, first row) for each object of a slice's messages that is not fine.

        In ascending order.
        """
        at = addressed(piece)
        convs, kinds, points = (piece.column(name).take(at) for name in ("conv", "kind", "point"))
        numbers = self._numbered.numbers(convs.astype(np.int64), points)
        self._fine_kind = column(self._fine_kind, numbers, NONE)
        rest = (self._fine_kind[numbers] != kinds) | (numbers < 0)
        if not rest.any():
            return []
        at, numbers, kinds = at[rest], numbers[rest], kinds[rest]
        named = list(zip(convs[rest].tolist(), kinds.tolist(), points[rest].tolist(), strict=True))
        new = set(named) - self.fine
        for one, number in zip(named, numbers.tolist(), strict=True):
            if number >= 0 and self._fine_kind[number] == NONE and one not in new:
                self._fine_kind[number] = one[1]
        first = dict(zip(reversed(named), reversed(at.tolist()), strict=True))
        return [(*one, first[one]) for one in sorted(new)]

    def judge(self, conv: int, kind: int, point: int, sample: Any) -> Finding | None:
        """What is new about one object; ``sample`` is the first message that names it."""
        if (conv, kind, point) in self.fine:
            return None
        known = self._points.get((self.lens.conv(conv), kind))
        text = object_text(self.lens, sample)
        # a kind that is new altogether has its own finding
        if known is None or text in known.texts or self.lens.conv(conv)[0] in HOUSEKEEPING:
            if len(self.fine) < MAX_POINTS:
                self.fine.add((conv, kind, point))
            return None
        if self.lens.dangerous(int(sample["proto"]), kind, int(sample["role"])):
            return self._command(conv, kind, point, sample, known, text)
        return self._news(conv, kind, point, sample, known, text)

    def _command(self, conv: int, kind: int, point: int, sample: Any, known: Known, text: str) -> Finding:
        rows, proto = np.array([sample]), int(sample["proto"])
        level, scores = self._command_level(conv, kind, point, int(sample["ts"]), known)
        if self.lens.kind_class(proto, kind) == KindClass.TIME:
            level = Level.INFO  # a station has one clock, however it is addressed
        name = self.lens.names.kind(proto, kind)
        return news_finding(
            "new-command-point",
            level,
            rows,
            f"{sender(self.lens, rows)} sent {name} to {text}, never commanded before",
            expected=f"{len(known.texts)} known objects of this command",
            observed=text,
            scores=scores,
            technique=technique(self.lens, proto, kind),
            group=f"{kind}",
            item=text,
        )

    def _news(self, conv: int, kind: int, point: int, sample: Any, known: Known, text: str) -> Finding:
        rows = np.array([sample])
        inside = known.codes[0] <= point <= known.codes[1] and len(known.texts) >= WIDE
        conversation = self.lens.conv(conv)
        many = inside or known.news >= MATURE or conversation[0] in WEB
        level = Level.NOTICE if many else Level.WARNING
        if conversation[0] == "dnp3" and sample["role"] == Role.SERVER and self._reported(conversation, text):
            level = Level.INFO
        if text in self._anywhere.get(conversation, ()) or ordinary(self.lens, conversation[0], rows):
            level = Level.INFO
        asked = kind - S7_ANSWER if conversation[0] == "s7comm" and kind >= S7_ANSWERS else kind
        if sample["role"] == Role.SERVER and self.lens.kind_class(int(sample["proto"]), asked) in DANGEROUS:
            level = Level.INFO  # the answer to a command, which has a finding of its own
        name, quiet = self.lens.names.kind(int(sample["proto"]), kind), self._full.conversation(conversation)
        why = doubt(quiet) if level > Level.INFO else ""
        return news_finding(
            "new-point",
            lowered(level, quiet),
            rows,
            f"{name} names {text}, new for {self.lens.link(conv)}{why}",
            expected=f"{len(known.texts)} known objects",
            observed=text,
            scores={"operation": 0.5, "attack": 0.4, "fault": 0.1},
            technique="T0861",
            group=f"{kind}",
            item=text,
        )

    def _reported(self, conversation: ConvKey, text: str) -> bool:
        """Is it an event of a DNP3 point that is known by its static group, or the echo of a command?"""
        group, index = _dnp3(text)
        if group in DNP3_ECHOES:
            return True
        if conversation not in self._dnp3:
            self._dnp3[conversation] = {_dnp3(known) for known in self._anywhere.get(conversation, ())}
        return (DNP3_STATIC.get(group, group), index) in self._dnp3[conversation]

    def _command_level(
        self, conv: int, kind: int, point: int, ts: int, known: Known
    ) -> tuple[Level, dict[str, float]]:
        """How loud a command from a known source to a new object is.

        Where learning saw few commands, one more object is an operator at work; several within a minute
        are a sweep whoever sends them.
        """
        swept = self._sweeps.add((conv, kind), point, ts)
        if known.news >= EXPECTED:  # every tenth command or more went to an object never commanded before
            return Level.WARNING if swept else Level.INFO, {"operation": 0.6, "attack": 0.4}
        quiet = self._full.commander(self.lens.conv(conv)[1])
        if swept or (known.news < MATURE and quiet >= FULL):
            return Level.ALARM, {"attack": 0.65, "operation": 0.35}
        # an output written every second makes many commands, and says nothing about an operator's
        level = lowered(Level.WARNING if known.news < 10 * MATURE else Level.NOTICE, quiet)
        if level <= Level.NOTICE and quiet < FULL:
            level = Level.INFO if (conv, kind) in self._once else level  # what was told once is told
            self._once.add((conv, kind))
        return level, {"operation": 0.55, "attack": 0.45}


def _dnp3(text: str) -> tuple[int, str]:
    """Group and index of a DNP3 object such as ``0x0202/4``; -1 when it is none."""
    code, _, index = text.partition("/")
    try:
        return int(code, 16) >> 8, index
    except ValueError:
        return -1, index


def known_points(baseline: Baseline) -> dict[PointKey, Known]:
    """Known objects of a baseline by (conversation, kind)."""
    texts: dict[PointKey, set[str]] = {}
    codes: dict[PointKey, list[int]] = {}
    counts: dict[PointKey, list[int]] = {}
    most: Counter[PointKey] = Counter()
    for row in baseline.rows("points"):
        key = (conv_of(row), int(row.kind))
        texts.setdefault(key, set()).add(row.point)
        codes.setdefault(key, []).append(row.code)
        counts.setdefault(key, []).append(row.count)
        most[key] = max(most[key], row.most)
    return {
        key: Known(texts[key], (min(codes[key]), max(codes[key])), news_rate(counts[key]), most[key])
        for key in texts
    }

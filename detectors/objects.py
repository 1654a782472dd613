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
from detectors.base import Finding, Level
from detectors.baseline import Baseline
from detectors.calibration import news_rate
from detectors.groups import HOUSEKEEPING, ConvKey, Lens
from detectors.news import MATURE, Sweeps, news_finding, object_text, ordinary, sender, technique
from detectors.saturation import EXPECTED, Saturation, doubt, lowered
from detectors.tables import conv_of
from grid_profiles.vocabulary import DANGEROUS, KindClass, Role

WIDE: Final = 20
"""From so many objects on, a new one between the lowest and the highest known is only a notice."""

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
        if text in self._anywhere.get(conversation, ()) or ordinary(self.lens, conversation[0], rows):
            level = Level.INFO
        if sample["role"] == Role.SERVER and self.lens.kind_class(int(sample["proto"]), kind) in DANGEROUS:
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
        if swept or known.news < MATURE:
            return Level.ALARM, {"attack": 0.65, "operation": 0.35}
        level = Level.WARNING if known.news < 10 * MATURE else Level.NOTICE
        if level == Level.NOTICE:
            level = lowered(level, self._full.commander(self.lens.conv(conv)[1]))
        return level, {"operation": 0.55, "attack": 0.45}


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

"""Learning the allow-lists: who talks to whom, in which messages, about which objects.

Learned: hosts, conversations, sets of (role, kind, cause) per conversation, objects per (conversation,
kind), and dangerous messages apart from the rest (``review``): those are *proposed* and stay so until a
person approves them. Tables are bounded; ``refused`` counts what did not fit.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detectors.base import Slice
from detectors.baseline import Baseline
from detectors.groups import (
    REPEATED,
    SECOND,
    ConvKey,
    Key,
    Lens,
    addressing,
    group,
    objects,
    pack,
    unpack,
)
from detectors.tables import TABLES, Origin, conv_fields
from grid_profiles.vocabulary import Flag

MAX_HOSTS: Final = 65_536
MAX_CONVS: Final = 65_536
MAX_KINDS: Final = 262_144
MAX_POINTS: Final = 500_000

KindKey = tuple[ConvKey, int, int, int]
PointKey = tuple[ConvKey, int]


@dataclass(slots=True)
class _Seen:
    """Count and span (epoch seconds) of one thing."""

    count: int = 0
    first: float = float("inf")
    last: float = float("-inf")

    def add(self, count: int, first: int, last: int) -> None:
        self.count += count
        self.first = min(self.first, first / SECOND)
        self.last = max(self.last, last / SECOND)

    def fields(self) -> dict[str, Any]:
        return {"count": self.count, "first": self.first, "last": self.last}


@dataclass(slots=True)
class _Kind:
    seen: _Seen = field(default_factory=_Seen)
    name: str = ""
    kind_class: str = ""
    danger: bool = False
    points: dict[str, None] = field(default_factory=dict)


class AllowlistLearner:
    """Collects the lists. ``refused`` counts what did not fit into the bounded tables."""

    def __init__(self, lens: Lens) -> None:
        self.lens = lens
        self.refused: Counter[str] = Counter()
        self._hosts: dict[str, _Seen] = {}
        self._convs: dict[ConvKey, tuple[_Seen, Counter[str]]] = {}
        self._kinds: dict[KindKey, _Kind] = {}
        self._points: dict[PointKey, dict[str, list[int]]] = {}
        self._point_rows = 0

    def learn(self, piece: Slice) -> None:
        """Take one slice."""
        messages = piece.messages
        if not len(messages):
            return
        keys = group(pack(messages))
        for index, packed in enumerate(keys.keys.tolist()):
            self._kind(messages.take(keys.rows(index)), unpack(packed))
        self._object_rows(messages)

    def _kind(self, rows: npt.NDArray[Any], key: Key) -> None:
        conv, (first, last) = self.lens.conv(key.conv), _span(rows)
        if conv not in self._convs and len(self._convs) >= MAX_CONVS:
            self.refused["conversations"] += 1
            return
        for host in conv[1:3]:
            if host and (host in self._hosts or len(self._hosts) < MAX_HOSTS):
                self._hosts.setdefault(host, _Seen()).add(len(rows), first, last)
        seen, flags = self._convs.setdefault(conv, (_Seen(), Counter()))
        seen.add(len(rows), first, last)
        for name, bit in (("gaps", Flag.GAP), ("midstream", Flag.MIDSTREAM), ("repeats", REPEATED)):
            flags[name] += int(np.count_nonzero(rows["flags"] & np.uint32(bit)))
        self._add_kind((conv, *key[1:]), rows, first, last)

    def _add_kind(self, key: KindKey, rows: npt.NDArray[Any], first: int, last: int) -> None:
        if key not in self._kinds:
            if len(self._kinds) >= MAX_KINDS:
                self.refused["kinds"] += 1
                return
            proto, kind = int(rows["proto"][0]), key[2]
            self._kinds[key] = _Kind(
                name=self.lens.names.kind(proto, kind),
                kind_class=self.lens.kind_class(proto, kind),
                danger=self.lens.dangerous(proto, kind, key[1]),
            )
        entry = self._kinds[key]
        entry.seen.add(len(rows), first, last)
        if entry.danger and len(entry.points) < 32:
            for proto, point in {(int(r["proto"]), int(r["point"])) for r in rows[:64]}:
                entry.points[self.lens.names.point(proto, point)] = None

    def _object_rows(self, messages: npt.NDArray[Any]) -> None:
        rows = addressing(messages)
        for conv, kind, point, count, sample in objects(rows):
            key = (self.lens.conv(conv), kind)
            known = self._points.setdefault(key, {})
            text = self.lens.names.point(int(sample["proto"]), point)
            if text not in known:
                if self._point_rows >= MAX_POINTS:
                    self.refused["points"] += 1
                    continue
                self._point_rows += 1
            entry = known.setdefault(text, [0, point, 0])
            entry[0] += count
            entry[2] = max(entry[2], int(sample["count"]))

    def finish(self, baseline: Baseline) -> None:
        """Write the lists into the baseline."""
        learned = {"origin": Origin.LEARNED.value}
        tables = baseline.tables
        hosts = [{"address": host, **seen.fields(), **learned} for host, seen in self._hosts.items()]
        tables["assets"] = TABLES["assets"].frame(hosts)
        tables["conversations"] = TABLES["conversations"].frame(
            [
                conv_fields(conv)
                | seen.fields()
                | {name: flags[name] for name in ("gaps", "repeats", "midstream")}
                | learned
                for conv, (seen, flags) in self._convs.items()
            ]
        )
        tables["kinds"] = TABLES["kinds"].frame([self._kind_row(key) for key in self._kinds])
        tables["points"] = TABLES["points"].frame(
            [
                conv_fields(conv)
                | {"kind": kind, "point": text, "code": code, "most": most, "count": count}
                | learned
                for (conv, kind), known in self._points.items()
                for text, (count, code, most) in known.items()
            ]
        )
        tables["review"] = TABLES["review"].frame(
            [self._review_row(key, entry) for key, entry in self._kinds.items() if entry.danger]
        )

    def _kind_row(self, key: KindKey) -> dict[str, Any]:
        entry = self._kinds[key]
        conv, role, kind, cause = key
        origin = Origin.PROPOSED if entry.danger else Origin.LEARNED
        return (
            conv_fields(conv)
            | {"role": role, "kind": kind, "cause": cause, "name": entry.name, "class": entry.kind_class}
            | entry.seen.fields()
            | {"origin": origin.value}
        )

    def _review_row(self, key: KindKey, entry: _Kind) -> dict[str, Any]:
        conv, _, kind, cause = key
        points = list(entry.points)
        shown = ", ".join(points[:8]) + (f" and {len(points) - 8} more" if len(points) > 8 else "")
        return (
            conv_fields(conv)
            | {"kind": kind, "cause": cause, "id": review_id(conv, kind, cause), "name": entry.name}
            | {"class": entry.kind_class, "points": shown}
            | entry.seen.fields()
            | {"origin": Origin.PROPOSED.value, "who": "", "why": "", "when": ""}
        )


def review_id(conv: ConvKey, kind: int, cause: int) -> str:
    """Short stable name of one dangerous kind in one conversation."""
    return hashlib.sha256(repr((conv, kind, cause)).encode()).hexdigest()[:8]


def _span(rows: npt.NDArray[Any]) -> tuple[int, int]:
    return int(rows["ts"].min()), int(rows["ts"].max())

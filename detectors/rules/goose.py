"""IEC 61850 GOOSE: counters, time allowed to live, configuration, test bits, second publishers, floods.

Standard followed: IEC 61850-8-1:2011, clause 18.1.2.5: a change raises stNum by 1 and resets sqNum to 0;
each repetition raises sqNum by 1 (at the top it goes on with 1); stNum, sqNum 1/0 follow a restart; the
next frame comes before timeAllowedtoLive is over. A copy of the very same frame (PRP, HSR, mirror port)
is no repetition. One control block has one publisher.

A breaker trip is a change of state with a burst of repetitions: that is legal and says nothing here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from operator import itemgetter
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detectors.base import Finding, Level, Slice
from detectors.baseline import Baseline
from detectors.groups import SECOND, Ints, Lens, runs
from detectors.loss import Losses
from detectors.rules.common import Bounded, message_finding, protocol_rows
from detectors.rules.shared import Habits
from detectors.tables import TABLES, Origin, conv_fields
from grid_profiles.vocabulary import MESSAGE, Flag

NAME: Final = "goose"
MAX_BLOCKS: Final = 4_096
MAX_PUBLISHERS: Final = 16_384
TOP: Final = (1 << 32) - 1
TOLERANCE: Final = 1.0
"""timeAllowedtoLive is exceeded by more than this factor; publishers announce twice their interval."""

FLOOD: Final = 500
"""Messages of one control block in one second; the fastest schedules stay near 100 after a change."""

COPY: Final = 5_000_000
"""ns in which the very same counters are a copy by redundancy or a mirror port, not a replay."""

MAX_RUNS: Final = 4_000
"""Messages of one second that are looked at one by one; plain repetitions are not counted among them."""

ALONE: Final = 600 * SECOND
"""ns without another one before it in which a single missing frame is not told: mirror ports lose one now and
then, and who drops some of a publisher's frames drops more than one in ten minutes."""

LONE: Final = 2
"""Frames that may be missing at once, or lifetimes a pause may last, to count as a single loss."""

HABIT: Final = 3
MAX_QUIET: Final = 600 * SECOND

_SKIP = np.uint32(Flag.DUPLICATE | Flag.TRUNCATED | Flag.MALFORMED)
_CONFIGURATION = itemgetter(
    *(list(MESSAGE.names or ()).index(name) for name in ("point", "cause", "name", "ident", "count"))
)


@dataclass(slots=True)
class _Block:
    """Where one control block stands."""

    source: int
    row: Any
    heard: int = 0  # ns
    lifetime: int = 0  # ns that the last frame allowed to live
    expired: bool = False
    quiet: bool = False  # nothing was said about the last frame
    missed: int = -ALONE  # ns when a frame was last missing
    excused: bool = False  # the pause that goes on is not told yet

    def take(self, rows: npt.NDArray[Any]) -> None:
        """The frame that came last: the last of ``rows``."""
        # a record's own copy goes field by field, a view keeps all rows of the slice
        row = np.frombuffer(bytearray(rows[-1:].tobytes()), rows.dtype)[0]
        self.row, self.expired, self.excused = row, False, False
        self.heard, self.lifetime = int(row["ts"]), int(row["aux"]) * 1_000_000


class PublisherLearner:
    """Collects who publishes what, as which revision."""

    def __init__(self, lens: Lens) -> None:
        self.lens = lens
        self._proto = lens.protocol(NAME)
        self._seen: Counter[tuple[Any, ...]] = Counter()
        self.refused: Counter[str] = Counter()

    def learn(self, piece: Slice) -> None:
        """Take one slice."""
        rows = protocol_rows(piece, self._proto)
        rows = rows.compress(rows["flags"] & _SKIP == 0)
        columns = ["conv", "src", "point", "cause", "name", "ident", "count"]
        for values, count in Counter(rows[columns].tolist()).items():
            if values not in self._seen and len(self._seen) >= MAX_PUBLISHERS:
                self.refused["publishers"] += count
                continue
            self._seen[values] += count

    def finish(self, baseline: Baseline) -> None:
        """Write the publishers into the baseline."""
        names, merged = self.lens.names, Counter[tuple[Any, ...]]()
        for (conv, src, point, rev, name, ident, entries), count in self._seen.items():
            key = (self.lens.conv(conv), names.point(self._proto, point), names.endpoint(src), rev)
            merged[(*key, names.text(name), names.text(ident), entries)] += count
        columns = ("point", "source", "conf_rev", "dataset", "go_id", "entries")
        rows = [
            conv_fields(key[0])
            | dict(zip(columns, key[1:], strict=True))
            | {"count": count, "origin": Origin.LEARNED.value}
            for key, count in merged.items()
        ]
        baseline.tables["publishers"] = TABLES["publishers"].frame(rows)


class GooseRules:
    """Checks GOOSE messages in order of arrival; plain repetitions are checked together."""

    def __init__(self, lens: Lens, baseline: Baseline | None = None) -> None:
        self.lens = lens
        self._proto = lens.protocol(NAME)
        self._blocks: Bounded[int, _Block] = Bounded(MAX_BLOCKS)
        self._sources: dict[str, set[str]] = {}
        self._revisions: dict[str, set[tuple[Any, ...]]] = {}
        self._habits = Habits(baseline, NAME)
        self._usual: set[tuple[int, ...]] = set()  # block and configuration that there is nothing to say of
        self._texts: dict[int, str] = {}
        self._losses = Losses()
        self._clock = -1
        self._unread = 0
        self._counts: dict[tuple[int, int], int] = {}  # messages of a block in the second that is running
        if baseline is not None:
            described = {row.ref for row in baseline.rows("control_blocks")}  # their revision is judged by it
            for row in baseline.rows("publishers"):
                self._sources.setdefault(row.point, set()).add(row.source)
                if row.point in described:
                    continue
                self._revisions.setdefault(row.point, set()).add(
                    (row.conf_rev, row.dataset, row.go_id, row.entries)
                )

    def counters(self) -> dict[str, int]:
        """What was given up because a table was full or a flood too dense."""
        return {"goose_blocks_evicted": self._blocks.evicted, "goose_flood_messages_not_read": self._unread}

    def detect(self, piece: Slice) -> list[Finding]:
        """Findings of one slice."""
        rows = protocol_rows(piece, self._proto)
        skipped = rows["flags"] & _SKIP != 0
        rows = rows.compress(~skipped) if skipped.any() else rows
        found: list[Finding] = []
        self._losses.see(piece)
        if self._clock >= 0 and piece.start - self._clock > 30 * SECOND:
            self._resume(piece.start)
        self._clock = piece.end
        if len(rows):
            rows = rows.take(np.argsort(rows["point"], kind="stable"))
            self._floods(rows, found)
            for run in self._runs(rows):
                before = len(found)
                block = self._run(run, found)
                block.quiet = len(found) == before
        self._expired(piece.end, found)
        return found

    def _runs(self, rows: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        """Messages of each control block, cut where one is not the plain repetition of the one before it.

        What goes on as it was, with nothing to say about it, is taken at once and not among them.
        """
        first, sizes = runs(rows["point"])
        plain = self._goes_on(rows, first)
        if len(rows) - np.count_nonzero(plain) >= MAX_RUNS:
            # a flood in which nothing follows on anything: what it is has been said above
            each = max(1, MAX_RUNS // len(first))
            spans = zip(first.tolist(), sizes.tolist(), strict=True)
            told = [rows[i : i + 1] for at, size in spans for i in range(at, at + min(each, size))]
            self._unread += len(rows) - len(told)
        else:
            heads = ~plain
            heads[first] = True
            begins = np.flatnonzero(heads)
            told = []
            known = zip(plain[begins].tolist(), rows["point"][begins].tolist(), strict=True)
            for (begin, end), (goes_on, point) in zip(
                pairwise([*begins.tolist(), len(rows)]), known, strict=True
            ):
                if not goes_on:
                    told.append(rows[begin:end])
                elif block := self._blocks.get(point):
                    block.take(rows[begin:end])
        return sorted(told, key=lambda run: int(run["frame"][0]))

    def _goes_on(self, rows: npt.NDArray[Any], first: Ints) -> npt.NDArray[np.bool_]:
        """Where a message is the plain repetition of the one before it, be that of an earlier slice."""
        blocks = [self._blocks.get(point) for point in rows["point"][first].tolist()]
        known = np.array([block is not None and block.quiet for block in blocks], bool)
        # records of blocks in front of the slice's own; copied as bytes, not field by field
        last = [block.row.tobytes() for block in blocks if block is not None and block.quiet]
        records = np.frombuffer(b"".join((*last, rows.tobytes())), rows.dtype)
        at = np.maximum(np.arange(len(rows)) - 1, 0) + len(last)
        at[first[known]] = np.arange(len(last))
        plain = _plain(records.take(at), rows)
        plain[first[~known]] = False
        return plain

    def _resume(self, now: int) -> None:
        """After a pause of the whole capture nothing is known about what happened in it."""
        for block in self._blocks.values():
            block.row["ts"] = block.heard = now

    def _run(self, run: npt.NDArray[Any], found: list[Finding]) -> _Block:
        """A message and its plain repetitions: what is true of the first is true of all."""
        row = run[0]
        point = int(row["point"])
        block = self._blocks.get(point)
        self._configuration(run, found)
        if block is None:
            self._source(run, None, found)
            block = self._blocks.put(point, _Block(int(row["src"]), run[-1]))
            block.take(run)
            return block
        if int(row["src"]) != block.source:
            self._source(run, block, found)
            return block  # the known publisher's counters are not moved by another
        self._lifetime(row, block, found)
        self._counters(row, block, found)
        block.take(run)
        return block

    def _source(self, run: npt.NDArray[Any], block: _Block | None, found: list[Finding]) -> None:
        row = run[0]
        known = self._sources.get(self._point(row))
        source = self._src(row)
        if block is None:
            if known is None or source in known:
                return
            expected = ", ".join(sorted(known))
        else:
            expected = self.lens.names.endpoint(block.source)
            if known is not None and source in known:
                # a hot stand-by that was learned took over, or a stranger was merely heard first
                block.source = int(row["src"])
                block.take(run)
                return
        found.append(
            self._finding(
                "goose-second-publisher",
                Level.ALARM,
                run,
                f"{source} publishes {self._point(row)}, whose publisher is {expected}",
                expected,
                source,
                {"attack": 0.85, "operation": 0.15},
                "T0856",
            )
        )

    def _counters(self, row: Any, block: _Block, found: list[Finding]) -> None:
        old = block.row
        st, sq, st0, sq0 = int(row["state"]), int(row["seq"]), int(old["state"]), int(old["seq"])
        if st == 1 and sq <= 1 and (1 < st0 < TOP or self._reborn(row, block, sq0)):
            self._restart(row, st0, found)
        elif st == st0:
            self._repetition(row, block, sq, sq0, found)
        elif st == (st0 + 1 if st0 < TOP else 1):
            if sq > 1:
                self._lost(row, block, sq, found)
        elif st > st0:
            self._jump(row, old, found)
        else:
            self._back(row, f"stNum {st}", f"stNum {st0} or {st0 + 1}", found)

    def _reborn(self, row: Any, block: _Block, sq0: int) -> bool:
        """Was a publisher restarted that had told no change since its last start?"""
        silent = int(row["ts"]) - block.heard > max(block.lifetime, SECOND)
        changed = float(row["value"])
        return sq0 > 1 and silent and (changed > float(block.row["value"]) or not changed > 0)

    def _restart(self, row: Any, st0: int, found: list[Finding]) -> None:
        found.append(
            self._finding(
                "goose-restart",
                Level.NOTICE,
                row,
                f"{self._point(row)} began again at stNum 1: {self._src(row)} was restarted",
                f"stNum {st0}",
                "stNum 1",
                {"fault": 0.5, "operation": 0.35, "attack": 0.15},
            )
        )

    def _repetition(self, row: Any, block: _Block, sq: int, sq0: int, found: list[Finding]) -> None:
        old = block.row
        due = sq0 + 1 if sq0 < TOP else 1
        moved = not _same(float(row["value"]), float(old["value"]))
        if sq == due:
            if moved and abs(float(row["value"]) - float(old["value"])) > 1e-3:
                self._time_moved(row, found)
        elif sq == sq0 and int(row["ts"]) - int(old["ts"]) <= COPY:
            return
        elif sq > due:
            self._lost(row, block, sq - due, found)
        else:
            self._back(row, f"stNum {row['state']} sqNum {sq}", f"sqNum {due}", found)

    def _time_moved(self, row: Any, found: list[Finding]) -> None:
        """There are IEDs that set t anew with each repetition; learning met them."""
        dst = self.lens.names.endpoint(int(row["dst"]))
        habit = self._habits.hits("goose-time", self._src(row), dst) >= HABIT
        found.append(
            self._finding(
                "goose-time",
                Level.INFO if habit else Level.WARNING,
                row,
                f"{self._point(row)} changed its time of change t without a new stNum",
                "t stays while stNum stays",
                f"t {float(row['value']):.3f}",
                {"attack": 0.6, "fault": 0.4},
                "T0856",
            )
        )

    def _lost(self, row: Any, block: _Block, frames: int, found: list[Finding]) -> None:
        alone = frames <= LONE and self._alone(block, int(row["ts"]))
        block.missed = int(row["ts"])
        finding = self._finding(
            "goose-gap",
            Level.INFO if alone else Level.NOTICE,
            row,
            f"{frames} frames of {self._point(row)} before stNum {row['state']} sqNum {row['seq']} "
            "never came by",
            "sqNum goes up by 1",
            f"{frames} missing",
            {"visibility": 0.45, "fault": 0.35, "attack": 0.2},
            "T0804",
        )
        found.append(self._losses.weigh(finding, int(block.row["ts"]), frames))

    @staticmethod
    def _alone(block: _Block, now: int) -> bool:
        """Was no frame of a block missing in the time before?"""
        return now - block.missed >= ALONE

    def _jump(self, row: Any, old: Any, found: list[Finding]) -> None:
        st, st0 = int(row["state"]), int(old["state"])
        far = st - st0 > 10
        finding = self._finding(
            "goose-state-jump",
            Level.ALARM if far else Level.WARNING,
            row,
            f"{self._point(row)} went from stNum {st0} to {st}: "
            + ("subscribers now ignore the true publisher" if far else "changes are missing or were made up"),
            f"stNum {st0} or {st0 + 1}",
            f"stNum {st}",
            {"attack": 0.75, "visibility": 0.15, "fault": 0.1}
            if far
            else {"attack": 0.45, "visibility": 0.35, "fault": 0.2},
            "T0856",
        )
        # no publisher makes many changes at once: a far jump is not believed to be loss
        found.append(finding if far else self._losses.weigh(finding, int(old["ts"]), st - st0 - 1))

    def _back(self, row: Any, observed: str, expected: str, found: list[Finding]) -> None:
        found.append(
            self._finding(
                "goose-replay",
                Level.ALARM,
                row,
                f"{self._point(row)} went back to {observed}; due was {expected}",
                expected,
                observed,
                {"attack": 0.8, "fault": 0.2},
                "T0856",
            )
        )

    def _configuration(self, run: npt.NDArray[Any], found: list[Finding]) -> None:
        row = run[0]
        said = _CONFIGURATION(row.item())
        if said not in self._usual:
            self._revision(run, said, found)
        flags = int(row["flags"])
        if flags & int(Flag.TEST):
            self._bit(run, "goose-test", "with the test or simulation bit", found)
        if flags & int(Flag.COMMISSIONING):
            self._bit(run, "goose-commissioning", "with ndsCom: its configuration is not complete", found)

    def _revision(self, run: npt.NDArray[Any], said: tuple[int, ...], found: list[Finding]) -> None:
        row = run[0]
        known = self._revisions.get(self._point(row))
        names = self.lens.names
        seen = (
            int(row["cause"]),
            names.text(int(row["name"])),
            names.text(int(row["ident"])),
            int(row["count"]),
        )
        if known is not None and seen not in known:
            expected = "; ".join(_describe(entry) for entry in sorted(known))
            found.append(
                self._finding(
                    "goose-configuration",
                    Level.WARNING,
                    run,
                    f"{self._point(row)} is published as {_describe(seen)}; learned was {expected}",
                    expected,
                    _describe(seen),
                    {"operation": 0.5, "attack": 0.5},
                    "T0836",
                )
            )
        elif len(self._usual) < MAX_BLOCKS:
            self._usual.add(said)

    def _bit(self, run: npt.NDArray[Any], rule: str, what: str, found: list[Finding]) -> None:
        test = rule == "goose-test"
        found.append(
            self._finding(
                rule,
                Level.WARNING if test else Level.NOTICE,
                run,
                f"{self._point(run[0])} is published {what}",
                "bit clear in operation",
                "bit set",
                {"operation": 0.6, "attack": 0.4} if test else {"operation": 0.7, "fault": 0.3},
                "T0856" if test else "",
            )
        )

    def _lifetime(self, row: Any, block: _Block, found: list[Finding]) -> None:
        late = int(row["ts"]) - block.heard
        if 0 < block.lifetime * TOLERANCE < late and not block.expired:
            found.append(self._pause(row, block, late, int(row["ts"])))

    def _expired(self, now: int, found: list[Finding]) -> None:
        """Control blocks whose publisher fell silent; said once per silence."""
        for block in self._blocks.values():
            late = now - block.heard
            if not 0 < block.lifetime * TOLERANCE < late or block.expired:
                continue
            if block.excused and late < LONE * block.lifetime:
                continue
            finding = self._pause(block.row, block, late, now)
            finding.ts = now
            found.append(finding)

    def _pause(self, row: Any, block: _Block, late: int, now: int) -> Finding:
        """A pause beyond what was allowed; a short one without another before it may be one lost frame."""
        finding = self._late(row, block, late)
        block.excused = late < LONE * block.lifetime and self._alone(block, now)
        if block.excused:
            finding.level = Level.INFO
        else:
            block.expired = True
        return self._excused(finding, block, late)

    def _excused(self, finding: Finding, block: _Block, late: int) -> Finding:
        """Publishers announce twice their interval, so that two frames are missing for each lifetime."""
        due = 2 * late // block.lifetime
        return self._losses.weigh(finding, block.heard, max(1, due))

    def _late(self, row: Any, block: _Block, late: int) -> Finding:
        allowed = int(block.row["aux"])
        return self._finding(
            "goose-expired",
            Level.WARNING,
            row,
            f"{self._point(row)} silent for {late / 1e6:.0f} ms; time allowed to live is {allowed} ms: "
            "subscribers hold it for lost",
            f"a frame within {allowed} ms",
            f"{late / 1e6:.0f} ms",
            {"fault": 0.6, "attack": 0.25, "visibility": 0.15},
            "T0804",
        )

    def _floods(self, rows: npt.NDArray[Any], found: list[Finding]) -> None:
        """More messages of one block in one second than any schedule sends, however long a slice is."""
        seconds = rows["ts"].astype(np.int64) // SECOND
        latest = int(seconds.max())
        kept = {key: count for key, count in self._counts.items() if key[1] == latest}
        if len(rows) + max(self._counts.values(), default=0) <= FLOOD:
            for point, count in Counter(rows["point"][seconds == latest].tolist()).items():
                kept[point, latest] = kept.get((point, latest), 0) + count
            self._counts = kept
            return
        order = np.lexsort((seconds, rows["point"]))
        first, sizes = runs(rows["point"][order], seconds[order])
        at = order[first]
        keys = list(zip(rows["point"][at].tolist(), seconds[at].tolist(), strict=True))
        before = [self._counts.get(key, 0) for key in keys]
        counts = {key: n + had for key, n, had in zip(keys, sizes.tolist(), before, strict=True)}
        for place, count in enumerate(counts.values()):
            if count > FLOOD >= before[place]:
                row = rows[at[place]]
                found.append(
                    self._finding(
                        "goose-flood",
                        Level.ALARM,
                        row,
                        f"{count} frames of {self._point(row)} within a second",
                        f"at most {FLOOD} per second",
                        str(count),
                        {"attack": 0.7, "fault": 0.3},
                        "T0814",
                    )
                )
        self._counts = kept | {key: count for key, count in counts.items() if key[1] == latest}

    def _point(self, row: Any) -> str:
        point = int(row["point"])
        if point not in self._texts:
            if len(self._texts) >= MAX_BLOCKS:
                self._texts.clear()
            self._texts[point] = self.lens.names.point(int(row["proto"]), point)
        return self._texts[point]

    def _src(self, row: Any) -> str:
        return self.lens.names.endpoint(int(row["src"]))

    def _finding(
        self,
        rule: str,
        level: Level,
        row: Any,
        summary: str,
        expected: str,
        observed: str,
        scores: dict[str, float],
        technique: str = "",
    ) -> Finding:
        rows = row if isinstance(row, np.ndarray) else np.array([row])
        made = message_finding(
            NAME, rule, level, rows, summary, expected, observed, scores, technique, self._point(rows[0])
        )
        made.count = len(rows)
        made.until = int(rows["ts"][-1]) if len(rows) > 1 else 0
        return made


def _plain(old: npt.NDArray[Any], new: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Where a message repeats the one before it as it should, so that no rule has anything new to say."""
    plain = np.ones(len(new), bool)
    for column in ("point", "conv", "src", "state", "cause", "name", "ident", "count", "aux", "flags"):
        plain &= old[column] == new[column]
    step = new["seq"] - old["seq"]
    apart = new["ts"] - old["ts"]
    plain &= (step == 1) | ((step == 0) & (apart >= 0) & (apart <= COPY))
    plain &= (new["aux"] <= 0) | (apart <= TOLERANCE * new["aux"] * 1_000_000)
    moved = np.abs(new["value"] - old["value"])
    return np.asarray(plain & ~(moved > 1e-3), bool)


def _describe(entry: tuple[Any, ...]) -> str:
    revision, dataset, ident, entries = entry
    return f"confRev {revision}, {dataset or 'no datSet'}, goID {ident or '-'}, {entries} entries"


def _same(one: float, other: float) -> bool:
    return one == other or (np.isnan(one) and np.isnan(other))

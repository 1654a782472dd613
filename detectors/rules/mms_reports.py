"""MMS reports of IEC 61850: numbers that skip, repeat or go back, buffers that ran over.

Standards followed: IEC 61850-8-1:2011, 17.2 (SqNum is INT8U of an unbuffered and INT16U of a buffered report
control block, and begins at 0 again behind its highest value), IEC 61850-7-2:2010, 17.2 (SqNum goes up by one
with each report and begins at 0 when the block is enabled; the parts of a segmented report have one SqNum and
rising SubSqNum; BufOvfl says that entries were lost before they were sent).

A control block is known by RptID and data set within one association, and its numbers are judged once they
counted: there are servers whose numbers do not. A client that writes to a report control block begins anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from detectors.base import Level, Slice
from detectors.baseline import Baseline
from detectors.groups import Lens
from detectors.loss import not_seen
from detectors.rules.common import MAX_READ, thinned
from detectors.rules.shared import ProtocolRules, Rows, Rule, has, one
from grid_profiles.vocabulary import Flag, Role

NAME: Final = "mms"
WRITE, REPORT = 5, 768
OVERFLOW, MORE, SUB = 1, 2, 2
"""Bits of what a report says of its parts; SubSqNum stands from bit 2 on."""

LAST: Final = (0xFF, 0xFFFF, 0xFFFFFFFF)
FIRST: Final = (0, 1)
PER_ASSOCIATION: Final = 256
"""Control blocks of one association that are begun anew, or known to lack bytes."""

COUNTED: Final = 2
"""Steps of one in a row that make a counter."""

ORDER = Rule("mms-report-order", Level.WARNING, {"attack": 0.7, "fault": 0.3}, "T0856")
GAP = Rule("mms-report-gap", Level.WARNING, {"attack": 0.45, "fault": 0.3, "visibility": 0.25}, "T0804")
OVERRUN = Rule("mms-report-overflow", Level.NOTICE, {"fault": 0.7, "attack": 0.2, "operation": 0.1}, "T0815")


@dataclass(slots=True)
class _Block:
    """Where one report control block stands."""

    seq: int
    parts: int
    ts: int
    counted: int = 0
    other: int = -1  # a number that did not fit; the sequence may go on from it
    free: bool = False  # set up anew since
    hole: bool = False  # bytes of the connection are missing since
    over: bool = False


class MmsReportRules(ProtocolRules):
    """Follows SqNum of each report control block."""

    protocol = NAME

    def __init__(self, lens: Lens, baseline: Baseline | None = None) -> None:
        super().__init__(lens, baseline)
        self._blocks = self.table()
        self._streams: dict[int, set[tuple[int, int, int]]] = {}
        self._controls: dict[int, bool] = {}  # by point: is it an attribute of a report control block?

    def counters(self) -> dict[str, int]:
        """What was given up because a table was full."""
        return {"mms_report_state_evicted": sum(table.evicted for table in self.bounded)}

    def check(self, rows: Rows, piece: Slice) -> None:
        """Reports, writes to their control blocks, and holes, in order; late messages stand out of order."""
        rows = rows.compress(~has(rows, Flag.LATE))
        kinds = np.ascontiguousarray(rows["kind"])
        reports = (kinds == REPORT) & (rows["seq"] >= 0)
        holes = has(rows, Flag.GAP)
        writes = (kinds == WRITE) & (rows["role"] == Role.CLIENT)
        wanted = reports | holes
        if self._blocks.values():
            wanted |= writes
        for row in thinned(rows.compress(wanted), MAX_READ)[0]:
            stream = int(row["stream"])
            if int(row["flags"]) & int(Flag.GAP):
                self._mark(stream, "hole")
            if int(row["kind"]) == WRITE:
                if self._sets_up(int(row["point"])):
                    self._mark(stream, "free")
            elif int(row["kind"]) == REPORT and int(row["seq"]) >= 0:
                self._report(row)

    def _sets_up(self, point: int) -> bool:
        known = self._controls.get(point)
        if known is None:
            item = self.names.point(self.proto, point)
            known = "$BR$" in item or "$RP$" in item
            if len(self._controls) < 16 * MAX_READ:
                self._controls[point] = known
        return known

    def _mark(self, stream: int, what: str) -> None:
        for key in self._streams.get(stream, ()):
            block = self._blocks.peek(key)
            if block is not None:
                setattr(block, what, True)

    def _report(self, row: Any) -> None:
        key = (int(row["stream"]), int(row["ident"]), int(row["name"]))
        seq, parts, ts = int(row["seq"]), int(row["aux"]), int(row["ts"])
        block = self._blocks.get(key)
        if block is None:
            self._remember(key, _Block(seq, parts, ts, over=parts > 0 and bool(parts & OVERFLOW)))
            return
        self._overrun(row, block, parts)
        if block.free:
            block.free, block.counted, block.other = False, 0, -1
        elif not self._follows(block, seq, parts):
            self._odd(row, block, seq)
            block.ts, block.hole = ts, False
            return
        else:
            block.counted += seq != block.seq
            block.other = -1
        block.seq, block.parts, block.ts, block.hole = seq, parts, ts, False

    def _remember(self, key: tuple[int, int, int], block: _Block) -> None:
        self._blocks.put(key, block)
        if len(self._streams) >= 4 * MAX_READ:
            self._streams = {}
            for old in self._blocks.names():
                self._streams.setdefault(old[0], set()).add(old)
        mine = self._streams.setdefault(key[0], set())
        if len(mine) < PER_ASSOCIATION:
            mine.add(key)

    @staticmethod
    def _follows(block: _Block, seq: int, parts: int) -> bool:
        """The next number, the next part of the same one, or the first behind the highest."""
        if seq == block.seq:
            return (
                parts >= 0 <= block.parts and bool(block.parts & MORE) and parts >> SUB > block.parts >> SUB
            )
        return seq == block.seq + 1 or (block.seq in LAST and seq in FIRST)

    def _odd(self, row: Any, block: _Block, seq: int) -> None:
        """A number that does not fit; one that goes on from another odd one is where the sequence is."""
        goes_on = block.other >= 0 and seq == block.other + 1
        counts, block.other = block.counted >= COUNTED, seq
        if goes_on or not counts:
            block.seq, block.parts = seq, int(row["aux"])
            block.counted, block.other = (block.counted if goes_on else 0), -1
            return
        client, server = self.sides(row)
        what = self.names.text(int(row["ident"]))
        due, group = block.seq + 1, what
        expected, observed = f"SqNum {due}", f"SqNum {seq}"
        if seq > due:
            missing = seq - due
            text = (
                f"{missing} reports {what} of {server} to {client} never came: SqNum {seq} after {block.seq}"
            )
            made = self.make(GAP, one(row), text, expected, observed, group=group)
            made = self.losses.weigh(made, block.ts, missing)
        else:
            again = "again" if seq == block.seq else "back"
            text = f"report {what} of {server} to {client} came with SqNum {seq} {again}; due was {due}"
            made = self.make(ORDER, one(row), text, expected, observed, group=group)
        if block.hole:  # the capture has a hole where the numbers have one
            not_seen(made)
            made.summary += "; bytes of the connection are missing from the capture too"
        self.found.append(made)

    def _overrun(self, row: Any, block: _Block, parts: int) -> None:
        """Entries that the server lost before it could send them; told when it begins."""
        over = parts > 0 and bool(parts & OVERFLOW)
        if over and not block.over:
            _, server = self.sides(row)
            what = self.names.text(int(row["ident"]))
            text = f"the buffer of {what} of {server} ran over: entries were lost before they were reported"
            self.say(OVERRUN, one(row), text, "BufOvfl false", "BufOvfl true", group=what)
        block.over = over

"""tshark beside a live capture: what no native decoder claims, decoded a few seconds later or not at all.

Unclaimed frames are gathered for :data:`GATHER` seconds, as many as the budget of a segment allows, in a
small temporary capture, and read by one tshark that ends with it: a tshark that goes on keeps 624 bytes for
every packet it ever saw. That happens in another process (:mod:`sensor.side.worker`); the native engine asks
for results between its batches and never waits for one.

Rows come late: each :data:`DELAY` seconds of capture time after its frame, a constant, so that distances and
rates in time stay what they were; a result that is later than that comes at once. The generic rows (``udp``,
``ip``, ``ethernet``) of the frames wait with them, as tshark's rows take their place.

A worker that crashes, hangs or talks nonsense costs its segment: the generic rows come, the frames count as
not decoded. It is started again, after a pause that doubles with every failure in a row.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sensor.frames import FrameBatch
from sensor.messages import Rows, interleave, join_rows, select
from sensor.names import Names
from sensor.side.adopt import ResultError, adopt
from sensor.side.process import Worker
from sensor.side.segment import Segment
from sensor.track.state import ETHERNET, IP, UDP

SECOND: Final = 1_000_000_000
GATHER: Final = 4 * SECOND
DELAY: Final = 8 * SECOND
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 300.0
"""Seconds until a failed worker is started again; doubled each time in a row."""

DEADLINE: Final = 10.0
"""Seconds for tshark's work on one segment; what takes longer has hung."""

FAREWELL: Final = 15.0
"""Seconds for which the end of a capture waits for the last results."""

GENERIC: Final = (UDP, IP, ETHERNET)


class Beside:
    """Takes unclaimed frames, gives late rows.

    Parameters
    ----------
    names : Names
        Of the run.
    profiles : sequence of Path
        Folders with profiles of the user's own.
    farewell : float, optional
        Seconds for which the end waits for the last results.

    Attributes
    ----------
    counters : Counter
        ``segments`` read, ``frames`` in them, ``undecoded`` frames with data of which nothing came,
        ``over_budget`` frames that were not given to tshark, ``rested`` frames that came while a failed
        worker was not started again yet, ``cut_off`` frames whose result the end did not wait for;
        ``crashes``, ``hangs``, ``starts`` of a worker.
    """

    def __init__(self, names: Names, profiles: Sequence[Path] = (), farewell: float | None = None) -> None:
        self.counters: Counter[str] = Counter()
        self._names, self._profiles = names, profiles
        self._farewell = FAREWELL if farewell is None else farewell
        self._folder = tempfile.TemporaryDirectory(prefix="gridwarden-")
        self._open: Segment | None = None
        self._waiting: Segment | None = None
        self._running: Segment | None = None
        self._worker: Worker | None = None
        self._late: deque[Rows] = deque()
        self._clock = 0
        self._number = 0
        self._pause, self._not_before = FIRST_PAUSE, 0.0
        self._why = ""

    @property
    def pid(self) -> int | None:
        """Process id of the worker."""
        return self._worker.pid if self._worker else None

    @property
    def idle(self) -> bool:
        """Whether no complete segment waits for its rows."""
        return self._waiting is None and self._running is None

    def give(self, frames: FrameBatch, open_frames: npt.NDArray[np.bool_], rows: Rows) -> Rows:
        """Take unclaimed frames; gives the native rows without those that wait for tshark.

        Parameters
        ----------
        frames : FrameBatch
            Unclaimed frames.
        open_frames : ndarray of bool
            Those of them that hold data of their own.
        rows : (MESSAGE array, POINT array)
            Native rows of the batch that the frames are from.
        """
        taken = self._take(frames, open_frames)
        self.counters["over_budget"] += len(frames) - taken
        self.counters["undecoded"] += int(np.count_nonzero(open_frames[taken:]))
        if not taken or self._open is None:
            return rows
        wait = np.isin(rows[0]["proto"], GENERIC) & np.isin(rows[0]["frame"], frames.number[:taken])
        if wait.any():
            self._open.generic.append(select(*rows, wait))
        return select(*rows, ~wait)

    def _take(self, frames: FrameBatch, open_frames: npt.NDArray[np.bool_]) -> int:
        """How many frames went into the open segment."""
        if not len(frames):
            return 0
        if self._open is None:
            self._number += 1
            self._open = Segment(Path(self._folder.name), self._number, int(frames.ts[0]))
        taken = self._open.room(frames)
        if taken:
            part = frames.take(slice(0, taken))
            try:
                self._open.add(part, part.number[open_frames[:taken]])
            except OSError as error:  # a full disk: native decoding goes on
                self._why = str(error)
                return 0
        return taken

    def collect(self, clock: int) -> Rows | None:
        """Rows that are due at ``clock`` (capture time, ns; 0: it stands still), None without any."""
        self._clock = max(self._clock, clock)
        if self._open is not None and self._clock - self._open.opened >= GATHER:
            self._shut()
        self._turn()
        return self._due(self._clock - DELAY)

    def finish(self) -> Rows | None:
        """Wait for what is on its way, for a few seconds; give everything that is left."""
        if self._open is not None:
            self._shut()
        until = time.monotonic() + self._farewell
        while (self._waiting or self._running) and time.monotonic() < until:
            self._turn()
            if self._worker is None and time.monotonic() < self._not_before:
                break
            time.sleep(0.02)
        for segment in (self._running, self._waiting):
            if segment is not None:
                self._give_up(segment, "cut_off")
        self._running = self._waiting = None
        return self._due(int(np.iinfo(np.int64).max))

    def close(self) -> None:
        """End the worker and remove what was written for it; safe to call again."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None
        for segment in (self._open, self._waiting, self._running):
            if segment is not None:
                segment.remove()
        self._folder.cleanup()

    def notes(self) -> list[str]:
        """What was not decoded, and why."""
        made = []
        counts = self.counters
        if counts["over_budget"]:
            made.append(
                f"{counts['over_budget']:,} frames that only tshark reads came faster than its budget and "
                "were not given to it; a --filter that leaves out what does not matter helps"
            )
        trouble = {"crashed": counts["crashes"], "hung": counts["hangs"]}
        told = " and ".join(f"{word} {count} times" for word, count in trouble.items() if count)
        if told:
            made.append(
                f"tshark {told}; what it was reading is counted as not decoded. The last time: {self._why}"
            )
        return made

    # --- the worker ---------------------------------------------------------------------------------

    def _shut(self) -> None:
        """The open segment is complete; one may wait for the worker, a second one cannot."""
        segment, self._open = self._open, None
        assert segment is not None
        if self._waiting is None:
            self._waiting = segment
        else:
            self._give_up(segment, "over_budget")

    def _turn(self) -> None:
        """Look at the worker once."""
        if self._worker is not None:
            reply = self._worker.answer()
            if reply is not None:
                self._heard(reply)
            elif (self._running or not self._worker.ready) and self._worker.overdue:
                self._heard({"failed": "hung", "why": "no answer in time"})
        if self._waiting is not None and self._running is None:
            self._hand_over(self._waiting)

    def _hand_over(self, segment: Segment) -> None:
        if self._worker is None:
            if time.monotonic() < self._not_before:
                self._waiting = None  # in the pause after a failure
                self._give_up(segment, "rested")
                return
            try:
                self._worker = Worker(self._profiles)
                self.counters["starts"] += 1
            except OSError as error:
                self._waiting = None
                self._failed(segment, "crashes", str(error))
            return
        if not self._worker.ready:
            return
        self._waiting, self._running = None, segment
        try:
            self._worker.order(segment.close() | {"deadline": str(DEADLINE)}, DEADLINE)
        except OSError as error:
            self._heard({"failed": "crashed", "why": str(error)})

    def start(self) -> None:
        """Start the worker before the first segment is complete."""
        with contextlib.suppress(OSError):
            self._worker = Worker(self._profiles)
            self.counters["starts"] += 1

    def _heard(self, reply: dict[str, Any]) -> None:
        assert self._worker is not None
        if reply.get("ready") is True and not self._worker.ready:
            self._worker.ready = True
            return
        segment, self._running = self._running, None
        if isinstance(reply.get("done"), int) and segment is not None:
            try:
                rows = adopt(segment.path("npz"), self._names, segment.all_numbers(), segment.number)
            except (ResultError, OSError) as error:
                self._failed(segment, "crashes", str(error))
            else:
                self._read(segment, rows)
            return
        hung = reply.get("failed") == "hung"
        self._failed(segment, "hangs" if hung else "crashes", str(reply.get("why", ""))[:300])

    def _failed(self, segment: Segment | None, what: str, why: str) -> None:
        """Count it, end the worker, and let it rest before the next is started."""
        self.counters[what] += 1
        self._why = why
        if self._worker is not None:
            self._worker.close()
            self._worker = None
        self._not_before = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        if segment is not None:
            self._give_up(segment, "")

    def _read(self, segment: Segment, rows: Rows) -> None:
        self._pause = FIRST_PAUSE
        self.counters["segments"] += 1
        self.counters["frames"] += segment.frames
        decoded = np.unique(rows[0]["frame"])
        self.counters["undecoded"] += segment.undecoded(decoded)
        generic = segment.generic_rows()
        if generic is not None:
            rows = interleave(select(*generic, ~np.isin(generic[0]["frame"], decoded)), rows)
        self._later(rows)
        segment.remove()

    def _give_up(self, segment: Segment, counter: str) -> None:
        """Nothing will come of it: its generic rows are all there is."""
        if counter:
            self.counters[counter] += segment.frames
        self.counters["undecoded"] += segment.undecoded(np.zeros(0, np.int64))
        generic = segment.generic_rows()
        if generic is not None:
            self._later(generic)
        segment.remove()

    # --- rows on their way --------------------------------------------------------------------------

    def _later(self, rows: Rows) -> None:
        if len(rows[0]):
            self._late.append(rows)

    def _due(self, until: int) -> Rows | None:
        """Rows from before ``until`` (ns), in the order of their segments."""
        parts = []
        while self._late:
            messages, points = self._late[0]
            cut = int(np.searchsorted(np.maximum.accumulate(messages["ts"]), until, side="right"))
            if not cut:
                break
            self._late.popleft()
            edge = int(np.searchsorted(points["message"], cut, side="left"))
            parts.append((messages[:cut], points[:edge]))
            if cut < len(messages):
                rest = points[edge:].copy()
                rest["message"] -= cut
                self._late.appendleft((messages[cut:], rest))
                break
        return join_rows(parts) if parts else None

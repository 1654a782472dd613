"""One sink's work without threads and clocks of its own: quota, batch, delivery, cursor.

:class:`Pump` does one step at a time; :mod:`sensor.sinks.worker` calls it in a loop, ``sinks forward`` until
nothing is due.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self

from sensor.errors import InputError
from sensor.sinks.base import Record, Sink, Unavailable, clean, test_record
from sensor.sinks.delivery import Outcome, deliver
from sensor.sinks.kinds import make_sink
from sensor.sinks.records import record_of
from sensor.sinks.settings import SinkSettings
from sensor.store.lanes import Lane, lanes_for
from sensor.store.outbox import DeadLetter, Outbox

Scrub = Callable[[Record], Record]

MARKS_PER_AGE: Final = 200
"""Marks within the age of the quota: how finely ages are known."""

LONGEST_MARK: Final = 600.0
SHORTEST_MARK: Final = 0.2


def unchanged(record: Record) -> Record:
    """The scrubbing that changes nothing."""
    return record


class Pump:
    """Moves rows of one store to one sink; belongs to one thread.

    Parameters
    ----------
    path : Path
        The store.
    settings : SinkSettings
    scrub : callable
        Applied to each record before it leaves, if the sink asks for pseudonyms; keeps identity and time.

    Raises
    ------
    InputError
        The sink asks for pseudonyms and nothing makes them.
    """

    def __init__(self, path: Path, settings: SinkSettings, scrub: Scrub = unchanged) -> None:
        if settings.pseudonymise and scrub is unchanged:
            raise InputError(
                f"sink {settings.name}: pseudonymise needs a key, and none was given. "
                "Name one in [pseudonyms] of the configuration"
            )
        self.settings = settings
        self._path, self._scrub = path, scrub if settings.pseudonymise else unchanged
        if not path.exists():  # creating it is the sensor's business, who would go on in another file
            raise Unavailable(f"{path}: there is no store yet")
        self.outbox = Outbox.open(path, settings.name, lanes_for(settings.send, settings.min_level))
        self._file = _identity(path)
        self._sink: Sink = make_sink(settings, self.outbox)
        self._probe = test_record(settings.site, settings.sensor)
        self._mark_every = min(LONGEST_MARK, max(SHORTEST_MARK, settings.max_age / MARKS_PER_AGE))

    def step(self) -> int:
        """Send one batch of the most important lane that has rows; returns the rows that were resolved.

        Raises
        ------
        Unavailable
            The sink could not take (all of) it; what it did take is accounted for.
        StoreError, StoreUnavailable
            The store cannot be read or written.
        """
        for lane in self.outbox.lanes:
            rows = self.outbox.due(lane, self.settings.batch)
            if rows:
                return self._send(lane, rows)
        return 0

    def housekeeping(self) -> None:
        """Hold the quota, tell what was given up, remember what is written by now."""
        self.outbox.mark(self._mark_every)
        self.outbox.keep_within(self.settings.max_age, self.settings.max_bytes)
        self.outbox.report_given_up()

    def is_stale(self) -> bool:
        """Whether another file now has the store's name: a damaged one was set aside, say."""
        return _identity(self._path) != self._file

    def close(self) -> None:
        """Close sink and store."""
        self._sink.close()
        self.outbox.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, lane: Lane, rows: list[tuple[Any, ...]]) -> int:
        records = self._records(lane, rows)
        if not records:
            return 1
        outcome = deliver(self._sink, records, self._probe)
        self._account(lane, records, outcome)
        if outcome.error is not None:
            raise outcome.error
        return outcome.done

    def _records(self, lane: Lane, rows: list[tuple[Any, ...]]) -> list[Record]:
        """The rows as records, up to the first that cannot be read; that one alone is set aside."""
        records: list[Record] = []
        for row in rows:
            try:
                records.append(self._scrub(record_of(lane, row, self.settings.site, self.settings.sensor)))
            except Exception as error:
                if not records:
                    # Without its content: what could not be scrubbed may not be shown elsewhere either.
                    reason = f"cannot be read: {type(error).__name__}: {clean(error)}"
                    self.outbox.advance(lane, row[0], 0, [DeadLetter(row[0], "unreadable", reason, {})])
                break
        return records

    def _account(self, lane: Lane, records: list[Record], outcome: Outcome) -> None:
        if not outcome.done:
            return
        dead = [DeadLetter(r.change, r.ident, reason, r.data) for r, reason in outcome.dead]
        if outcome.passed:
            self.outbox.count_given_up(lane, "labels", outcome.passed)
        position = records[outcome.done - 1].change
        self.outbox.advance(lane, position, outcome.accepted - outcome.passed, dead)


def _identity(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return (found.st_dev, found.st_ino)

"""One batch to one sink: what it refuses is narrowed down until the culprits are known.

A batch that is refused is halved until single records stand alone; a record is a culprit only when the
sink, asked at the same time, takes another one. Requests per batch are bounded: what is not resolved then is
left for the next round, so that an alarm which has come up meanwhile goes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from sensor.errors import GridwardenError
from sensor.sinks.base import Record, Refused, Sink, Unavailable, clean

MAX_REQUESTS: Final = 200
"""Deliveries in search of culprits per batch."""


@dataclass(slots=True)
class Outcome:
    """What came of a batch.

    Attributes
    ----------
    done : int
        Records from the beginning that need no more sending.
    accepted : int
        Of these, taken by the sink.
    passed : int
        Of those accepted, passed over for a bound.
    dead : list of (Record, str)
        Culprits with the sink's answer.
    error : Unavailable or None
        Why the rest was not sent.
    """

    done: int = 0
    accepted: int = 0
    passed: int = 0
    dead: list[tuple[Record, str]] = field(default_factory=list)
    error: Unavailable | None = None


def deliver(sink: Sink, records: Sequence[Record], probe: Record) -> Outcome:
    """Send a batch, and find out which records the sink cannot take.

    Parameters
    ----------
    sink : Sink
    records : sequence of Record
    probe : Record
        A harmless record that a working sink takes.
    """
    outcome = Outcome()
    parts = [list(records)]
    proven = False
    try:
        for _ in range(MAX_REQUESTS):
            if not parts:
                break
            part = parts.pop()
            try:
                outcome.passed += sink.send(part)
            except Exception as error:
                refusal = _as_refusal(error)
                if not proven and (len(part) == 1 or not refusal.too_large):
                    _prove(sink, probe, refusal)
                    proven = True
                if len(part) == 1:
                    outcome.dead.append((part[0], str(refusal)))
                    outcome.done += 1
                else:
                    middle = len(part) // 2
                    parts += [part[middle:], part[:middle]]  # the first half is on top: done grows in order
            else:
                outcome.accepted += len(part)
                outcome.done += len(part)
    except Unavailable as error:
        outcome.error = error
    return outcome


def _prove(sink: Sink, probe: Record, refusal: Refused) -> None:
    """The sink takes something else; if it does not, it is the sink and not the records."""
    try:
        sink.send([probe])
    except Exception as error:
        _as_refusal(error)
        raise Unavailable(f"every record is refused, a test record too: {refusal}") from error


def _as_refusal(error: Exception) -> Refused:
    """A refusal as it is; a failure of our own code on some content counts as one, so that it blocks nothing.

    Raises
    ------
    Unavailable, GridwardenError
        What does not speak of the content goes on.
    """
    if isinstance(error, Refused):
        return error
    if isinstance(error, GridwardenError):
        raise error
    return Refused(f"cannot be sent: {type(error).__name__}: {clean(error)}")

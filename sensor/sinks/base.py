"""What every sink is: it takes records in batches, or says why not.

A sink raises one of two things. :class:`Refused` speaks of the records: sending the same again is useless,
one of them (or all) is not acceptable. :class:`Unavailable` speaks of the sink: the records are fine, try
again later. Whatever is unclear is Unavailable, because that loses nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from sensor.errors import GridwardenError

MAX_REASON: Final = 200
"""Characters of an answer from outside that are kept."""


class SinkError(GridwardenError):
    """Base of what a sink raises; shown by ``sinks check`` and in the status."""

    exit_code = 4


class Refused(SinkError):
    """The sink does not accept the content of this batch.

    Parameters
    ----------
    reason : str
        What it answered.
    too_large : bool
        It is the size of the batch that was refused.
    """

    def __init__(self, reason: str, *, too_large: bool = False) -> None:
        super().__init__(reason)
        self.too_large = too_large


class Unavailable(SinkError):
    """The sink cannot be reached, is busy, or does not let us in.

    Parameters
    ----------
    reason : str
        What happened and what to do.
    retry_after : float or None
        Seconds that the sink asked us to wait.
    """

    def __init__(self, reason: str, *, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Record:
    """One row of the store on its way out.

    Attributes
    ----------
    kind : str
        ``alert``, ``incident``, ``level``, ``sample`` or ``test``.
    change : int
        Number of the row's last change; grows, and differs for every version of a row.
    ident : str
        Identity that stays when the row is sent again: id of the alert or incident, series and time.
    ts : float
        Time of the point, epoch seconds; does not move when the row changes.
    level : int
        0 info to 3 alarm; 0 for samples.
    data : dict
        Fields as in the JSON of the command line; JSON-able, finite.
    levels_had : int
        Bit per level that an alert or incident ever had, the present one included.
    """

    kind: str
    change: int
    ident: str
    ts: float
    level: int
    data: dict[str, Any]
    levels_had: int = 0


class Sink(Protocol):
    """A place to send records to; used by one thread."""

    def send(self, records: Sequence[Record]) -> int:
        """Deliver all of them, in order.

        Returns
        -------
        int
            Records that were passed over because of a bound of the sink's (on series).

        Raises
        ------
        Refused, Unavailable
            Some or none were delivered; sending all again must do no harm.
        """

    def close(self) -> None:
        """Let go of connections and files; the next :meth:`send` opens them anew."""


class Memory(Protocol):
    """What a sink must remember to write the same point again: durable, in the store.

    :class:`sensor.store.outbox.Outbox` is one.
    """

    def admit(self, labels: set[str], most: int) -> set[str]:
        """Labels that may be tag values."""

    def moments(self, table: str, wanted: Mapping[str, int]) -> dict[str, int]:
        """Times that are one alert's or incident's alone, by id."""


class Forgetful:
    """For a sink without an outbox behind it (``sinks check``)."""

    def admit(self, labels: set[str], most: int) -> set[str]:
        """All of them."""
        return labels

    def moments(self, table: str, wanted: Mapping[str, int]) -> dict[str, int]:
        """As wanted."""
        return dict(wanted)


def clean(text: object, most: int = MAX_REASON) -> str:
    """Text from outside on one line without control characters, cut to ``most`` characters."""
    words = "".join(c if c.isprintable() else " " for c in str(text)[: 4 * most])
    short = " ".join(words.split())
    return short if len(short) <= most else short[: most - 1] + "…"


def test_record(site: str, sensor: str) -> Record:
    """The record of ``sinks check``, and the probe that tells a bad record from a bad sink."""
    now = float(int(time.time()))
    data = {
        "record": "test",
        "site": site,
        "sensor": sensor,
        "summary": "Test record of Gridwarden; nothing happened",
        "ts": now,
    }
    return Record("test", 0, "test", now, 0, data)

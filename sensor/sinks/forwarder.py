"""All sinks of a sensor: started together, told of new rows, asked how they are, stopped in time.

The store is the only thing that the sensor and its sinks share, so forwarding can neither delay nor stop
detection.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sensor.errors import GridwardenError, InputError
from sensor.sinks.kinds import address, kind_of
from sensor.sinks.pump import Scrub, unchanged
from sensor.sinks.settings import SinkSettings
from sensor.sinks.worker import State, Worker
from sensor.store.lanes import lanes_for
from sensor.store.outbox import Outbox


class Forwarder:
    """Sends what the store holds to every sink, each in a thread of its own.

    Parameters
    ----------
    path : str or Path
        The store; it may be replaced by another file under the same name while this runs.
    sinks : sequence of SinkSettings
        From :func:`sensor.sinks.settings.parse_sinks`.
    scrub : callable
        Applied to each record before it leaves to a sink with ``pseudonymise``. It must keep ``ts`` and
        ``change``, and ``ident`` of alerts and incidents, and give the same record each time.
    """

    def __init__(self, path: str | Path, sinks: Sequence[SinkSettings], scrub: Scrub = unchanged) -> None:
        self._path = Path(path)
        self._workers = [Worker(self._path, settings, scrub) for settings in sinks]

    def start(self) -> None:
        """Start all sinks; returns at once."""
        for worker in self._workers:
            worker.start()

    def poke(self) -> None:
        """There may be new rows; cheap, callable from any thread."""
        for worker in self._workers:
            worker.poke()

    def stop(self, deadline_s: float = 3.0) -> bool:
        """Ask all sinks to end and wait for at most so many seconds; True when all have ended.

        Nothing is lost either way: what was not acknowledged is sent at the next start.
        """
        for worker in self._workers:
            worker.ask_to_stop()
        deadline = time.monotonic() + deadline_s
        return all(worker.join(deadline) for worker in self._workers)

    def status(self) -> dict[str, dict[str, Any]]:
        """How each sink is, by name; JSON-able. See :func:`sink_status`."""
        return {
            worker.settings.name: sink_status(self._path, worker.settings, worker.state)
            for worker in self._workers
        }


def sink_status(path: Path, settings: SinkSettings, state: State | None = None) -> dict[str, Any]:
    """One sink's place in the outbox, and what its worker says.

    Returns
    -------
    dict
        ``type``, ``address``; ``depth`` rows and ``depth_bytes`` that wait, ``by_lane``; ``sent``;
        ``given_up`` by lane and reason; ``dead_letters``; and of a running worker ``state``, ``last_error``,
        ``last_error_at``, ``last_success``, ``next_try`` (epoch seconds) and ``failures`` in a row.
        ``store_error`` stands there when the store could not be read; the figures are then None.
    """
    status: dict[str, Any] = {"type": kind_of(settings), "address": address(settings)}
    if state is not None:
        status |= {
            "state": state.state,
            "last_error": state.last_error,
            "last_error_at": state.last_error_at,
            "last_success": state.last_success,
            "next_try": state.next_try,
            "failures": state.failures,
        }
    try:
        return status | _figures(path, settings)
    except GridwardenError as error:
        names = ("depth", "depth_bytes", "by_lane", "sent", "given_up", "dead_letters")
        return status | dict.fromkeys(names) | {"store_error": str(error)}


def _figures(path: Path, settings: SinkSettings) -> dict[str, Any]:
    if not path.exists():
        raise InputError(f"{path}: there is no store yet")
    lanes = lanes_for(settings.send, settings.min_level)
    with Outbox.open(path, settings.name, lanes, timeout=2.0) as outbox:
        waiting = outbox.waiting()
        return {
            "depth": sum(lane.rows for lane in waiting.values()),
            "depth_bytes": sum(lane.bytes for lane in waiting.values()),
            "by_lane": {lane.name: found.rows for lane, found in waiting.items() if found.rows},
            "sent": outbox.sent(),
            "given_up": outbox.given_up(),
            "dead_letters": outbox.dead_count(),
        }

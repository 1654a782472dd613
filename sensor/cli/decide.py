"""What ``accept`` and ``reject`` share: an alert out of the store, a decision into the baseline."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from detectors.base import Alert

FILE = click.Path(path_type=Path, dir_okay=False)
LEAST = 4
"""Letters of an id that must be given."""


def decision(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a decision."""
    for option in reversed(
        (
            click.argument("ids", nargs=-1, required=True, metavar="ALERT-ID..."),
            click.option("--store", required=True, type=FILE, help="Store that holds the alert."),
            click.option(
                "-b", "--baseline", "baseline_file", required=True, type=FILE, help="Baseline to change."
            ),
            click.option("--who", required=True, help="Who decides."),
            click.option(
                "--why", required=True, help="Why: work order, test protocol, talk with the operator ..."
            ),
            click.option("--json", "as_json", is_flag=True, help="One JSON object per alert."),
        )
    ):
        function = option(function)
    return function


def find(store: Path, ids: tuple[str, ...]) -> list[Alert]:
    """Alerts by id or its first letters; raises UsageError."""
    from sensor.errors import InputError, UsageError
    from sensor.store.sqlite import Store

    if not store.is_file():
        raise InputError(f"{store}: no such store; gridwarden detect … --store {store} makes one")
    found = []
    with Store.open(store) as opened:
        for ident in ids:
            if len(ident) < LEAST:
                raise UsageError(f"{ident!r} is too short for an alert's id; give at least {LEAST} letters")
            alerts = opened.alerts_called(ident)
            if not alerts:
                raise UsageError(f"no alert {ident} in {store}; the report and `detect --json` show ids")
            if len(alerts) > 1:
                listed = ", ".join(alert.id for alert in alerts[:5])
                raise UsageError(f"{ident} may be {listed}; give more letters")
            found.append(alerts[0])
    return found


def now() -> str:
    """The moment of a decision, for the audit trail."""
    return datetime.now(UTC).isoformat(timespec="seconds")

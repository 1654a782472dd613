"""What ``accept`` and ``reject`` share: an alert out of the store, a decision into baseline and store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from detectors.base import Alert
    from sensor.store.life import Filed

FILE = click.Path(path_type=Path, dir_okay=False)
LEAST = 4
"""Letters of an id that must be given."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a decision did to a baseline: ``what`` is silent from now on, or so many acceptances went."""

    alert: Alert
    when: str
    what: str
    taken_back: int


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


def carry_out(
    what: str, alerts: list[Alert], store: Path, baseline_file: Path, who: str, why: str
) -> tuple[list[Done], list[Filed]]:
    """Take a decision into the baseline, and into the trail of the store that holds the alerts.

    Parameters
    ----------
    what : str
        ``accepted`` or ``rejected``.

    Returns
    -------
    tuple
        What it did to the baseline, and the alerts as they stand now, both in the order of ``alerts``.

    Raises
    ------
    UsageError
        One of them cannot be accepted, or a file cannot be written. The baseline is as it was.
    """
    from detectors.acceptance import accept, reject
    from detectors.baseline import BaselineError
    from sensor.cli.baseline import load
    from sensor.cli.learn import write
    from sensor.errors import UsageError
    from sensor.store.life import Decision, decide
    from sensor.store.sqlite import Store

    baseline, moment = load(baseline_file), datetime.now(UTC)
    when, done = moment.isoformat(timespec="seconds"), []
    try:
        for alert in alerts:
            if what == "accepted":
                done.append(Done(alert, when, accept(baseline, alert, who, why, when), 0))
            else:
                done.append(Done(alert, when, "", reject(baseline, alert, who, why, when)))
    except BaselineError as error:
        raise UsageError(str(error)) from error
    with Store.open(store) as opened:
        write(baseline, baseline_file)
        decision = Decision(what, who, why, moment.timestamp())
        return done, decide(opened, [alert.id for alert in alerts], decision)


def now() -> str:
    """The moment of a decision, for the audit trail."""
    return datetime.now(UTC).isoformat(timespec="seconds")

"""The life of alerts after they were written: finding them again, and what people decided about them.

Decisions are a trail: nothing is ever changed in it, the latest one counts. What a decision means for the
baseline is the baseline's matter.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from typing import Any, Final

from detectors.base import Alert, Level
from sensor.errors import UsageError
from sensor.result import alert_record
from sensor.store import rows
from sensor.store.live import HealthRow
from sensor.store.sqlite import Store

DECISIONS: Final = ("acknowledged", "accepted", "rejected")
MAX_TEXT: Final = 2_000

_ALERTS: Final = ", ".join(f"alerts.{name}" for name in rows.ALERT_COLUMNS.split(", "))
_FROM: Final = (
    f"SELECT {_ALERTS}, alert_life.open, alert_life.opened, d.what, d.who, d.why, d.at FROM alerts "  # noqa: S608
    "LEFT JOIN alert_life ON alert_life.alert = alerts.id "
    "LEFT JOIN decisions AS d ON d.id = (SELECT max(id) FROM decisions WHERE decisions.alert = alerts.id) "
)


@dataclass(frozen=True, slots=True)
class Decision:
    """What somebody decided about an alert; ``at`` in epoch seconds."""

    what: str
    who: str
    why: str
    at: float


@dataclass(frozen=True, slots=True)
class Filed:
    """An alert with its life; ``opened`` is the wall clock of its first write by a daemon, else None."""

    alert: Alert
    open: bool
    opened: float | None
    decision: Decision | None

    def record(self) -> dict[str, Any]:
        """As a JSON object: the alert's own keys, and open, opened, decision."""
        decided = None
        if self.decision is not None:
            decided = {name: getattr(self.decision, name) for name in ("what", "who", "why", "at")}
        return alert_record(self.alert) | {"open": self.open, "opened": self.opened, "decision": decided}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which alerts; None and "" stand for all. ``since`` and ``until`` in epoch seconds."""

    since: float | None = None
    until: float | None = None
    min_level: Level = Level.INFO
    asset: str = ""
    protocol: str = ""
    rule: str = ""
    decided: str = ""
    open_only: bool = False
    limit: int = 1_000


def find_alerts(store: Store, wanted: Wanted) -> list[Filed]:
    """Alerts that overlap the time asked for, newest first; at most ``limit``."""
    parts = ["level >= ?"]
    values: list[Any] = [int(wanted.min_level)]
    for text, value in (
        ("alerts.end >= ?", wanted.since),
        ("alerts.start <= ?", wanted.until),
        ("protocol = ?", wanted.protocol or None),
        ("rule = ?", wanted.rule or None),
    ):
        if value is not None:
            parts.append(text)
            values.append(value)
    if wanted.asset:
        parts.append("(src = ? OR dst = ?)")
        values += [wanted.asset, wanted.asset]
    if wanted.open_only:
        parts.append("alert_life.open = 1")
    if wanted.decided == "none":
        parts.append("d.what IS NULL")
    elif wanted.decided:
        parts.append("d.what = ?")
        values.append(wanted.decided)
    query = f"{_FROM} WHERE {' AND '.join(parts)} ORDER BY alerts.start DESC, alerts.id LIMIT ?"
    return [_filed(row) for row in store.query(query, (*values, wanted.limit))]


def get_alert(store: Store, ident: str) -> Filed:
    """One alert by its id or by the beginning of it.

    Raises
    ------
    UsageError
        No alert has that id, or several begin so.
    """
    found = store.query(f"{_FROM} WHERE substr(alerts.id, 1, ?) = ? LIMIT 2", (len(ident), ident))
    if not ident or not found:
        raise UsageError(f"no alert {ident!r} in {store.path}; `gridwarden alerts list` shows ids")
    if len(found) > 1 and found[0][0] != ident:
        raise UsageError(f"several alerts begin with {ident!r}: give more of the id")
    return _filed(found[0])


def decisions_of(store: Store, ident: str) -> list[Decision]:
    """All that was decided about an alert, oldest first."""
    found = store.query("SELECT what, who, why, at FROM decisions WHERE alert = ? ORDER BY id", (ident,))
    return [Decision(*row) for row in found]


def decide(store: Store, idents: list[str], decision: Decision) -> list[Filed]:
    """Write a decision about alerts, all or none; returns them as they are now.

    Raises
    ------
    UsageError
        An unknown alert, or text that is empty or too long.
    """
    if decision.what not in DECISIONS:
        raise UsageError(f"no decision {decision.what!r}; there are {', '.join(DECISIONS)}")
    if not decision.who.strip():
        raise UsageError("say who decides: --who NAME")
    if max(len(decision.who), len(decision.why)) > MAX_TEXT:
        raise UsageError(f"--who and --why have at most {MAX_TEXT} characters")
    alerts = [get_alert(store, ident).alert.id for ident in idents]

    def work(connection: sqlite3.Connection) -> None:
        connection.executemany(
            "INSERT INTO decisions (alert, what, who, why, at) VALUES (?, ?, ?, ?, ?)",
            [
                (alert, decision.what, rows.text(decision.who), rows.text(decision.why), decision.at)
                for alert in alerts
            ],
        )

    store.transact(work)
    return [get_alert(store, ident) for ident in alerts]


def latest_health(store: Store) -> list[HealthRow]:
    """The last heartbeat of the sensor ("") and of each of its sources."""
    last = store.query("SELECT max(id), ts FROM health WHERE source = ''")
    if not last or last[0][0] is None:
        return []
    found = store.query(
        "SELECT ts, source, state, fields FROM health WHERE id IN "
        "(SELECT max(id) FROM health WHERE id > ? - 1000 GROUP BY source) ORDER BY source",
        (last[0][0],),
    )
    return [HealthRow(ts, source, state, json.loads(fields)) for ts, source, state, fields in found]


def _filed(row: tuple[Any, ...]) -> Filed:
    *alert, is_open, opened, what, who, why, at = row
    decision = Decision(what, who, why, at) if what is not None else None
    return Filed(rows.alert_from(alert), bool(is_open), opened, decision)

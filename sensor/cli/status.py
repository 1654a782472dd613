"""``gridwarden status``: is the sensor alive, and does it see?"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sensor.cli.common import Command, out, print_json
from sensor.cli.stores import store_options

if TYPE_CHECKING:
    from sensor.store.live import HealthRow

PATIENCE = 3.0
"""Heartbeats that may be missing before a sensor is called dead."""

STYLES = {"ok": "green", "stopped": "yellow", "degraded": "yellow"}


@click.command("status", cls=Command)
@store_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def command(ctx: click.Context, store: Path, as_json: bool) -> None:
    """How the sensor is, from its last heartbeat in the store.

    Exit code 0 when it is ok, 1 when it is dead, stopped, blind, behind or degraded.

    \b
    Examples:
      gridwarden status -c gridwarden.toml
      gridwarden status -c gridwarden.toml --json | jq .state
    """
    from sensor.store.life import Wanted, find_alerts, latest_health
    from sensor.store.sqlite import Store

    with Store.look(store) as opened:
        rows = {row.source: row for row in latest_health(opened)}
        going_on = find_alerts(opened, Wanted(open_only=True, limit=100_000))
        levels = opened.query(
            "SELECT scope, protocol, name, level, cause FROM levels WHERE level > 0 OR scope = 'site' "
            "ORDER BY level DESC, scope DESC, name LIMIT 50"
        )
    state, age = _state(rows.get(""))
    counts = dict.fromkeys(("info", "notice", "warning", "alarm"), 0)
    for one in going_on:
        counts[one.alert.level] += 1
    from sensor.warning.levels import NAMES

    record: dict[str, Any] = {
        "state": state,
        "heartbeat_age_s": age,
        "sensor": dict(rows[""].fields) if "" in rows else {},
        "sources": {name: {"state": row.state, **row.fields} for name, row in rows.items() if name},
        "open_alerts": counts,
        "levels": [
            {"scope": scope, "protocol": protocol, "name": name, "level": NAMES[level], "cause": cause}
            for scope, protocol, name, level, cause in levels
        ],
    }
    if as_json:
        print_json(record)
    else:
        _show(record)
    if state != "ok":
        ctx.exit(1)


def _state(row: HealthRow | None) -> tuple[str, float | None]:
    """The state that counts now, and the age of the last heartbeat in s."""
    if row is None:
        return "never started", None
    age = time.time() - row.ts
    if row.state in ("stopped", "failed"):
        return row.state, age
    patience = PATIENCE * max(1.0, row.fields.get("interval_s", 10.0))
    return ("dead" if age > patience else row.state), age


def _show(record: dict[str, Any]) -> None:
    state, age = record["state"], record["heartbeat_age_s"]
    when = "" if age is None else f", last heartbeat {age:.0f} s ago"
    out.print(f"{state}{when}", style=STYLES.get(state, "red"), markup=False, highlight=False)
    for name, source in record["sources"].items():
        out.print(
            f"  {name:<15} {source['state']:<6} {source.get('frames', 0):>14,.0f} frames"
            f"{source.get('drops', 0):>12,.0f} lost{source.get('blind_s', 0):>10,.1f} s blind",
            markup=False,
            highlight=False,
        )
    sensor = record["sensor"]
    for label, name, unit in (
        ("behind the wire", "lag_s", "s"),
        ("memory", "rss_mib", "MiB"),
        ("store", "store_mib", "MiB"),
        ("disk free", "disk_free_mib", "MiB"),
        ("waiting for the store", "store_waiting_alerts", "alerts"),
        ("waiting for sinks", "outbox_depth", "rows"),
        ("baseline age", "baseline_age_s", "s"),
        ("not as learned", "conversations_moved", "conversations"),
    ):
        if name in sensor:
            out.print(f"  {label:<22} {sensor[name]:>12,.1f} {unit}", markup=False, highlight=False)
    counts = record["open_alerts"]
    going_on = ", ".join(f"{count} {level}" for level, count in reversed(counts.items()) if count)
    out.print(f"  open alerts            {going_on or 'none'}", markup=False, highlight=False)
    for level in record["levels"]:
        words = f"{level['scope']} {level['protocol']} {level['name']}".replace("  ", " ")
        cause = f" ({level['cause']})" if level["cause"] else ""
        out.print(f"  {level['level']:<8} {words}{cause}", markup=False, highlight=False, soft_wrap=True)

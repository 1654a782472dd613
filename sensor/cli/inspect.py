"""``gridwarden inspect``: what is in a capture."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich import box
from rich.markup import escape
from rich.table import Table

from sensor.cli import options
from sensor.cli.common import Command, out, print_json

if TYPE_CHECKING:
    from sensor.engines import Decoded
    from sensor.inventory import Inventory

ROWS = 40


@click.command("inspect", cls=Command)
@options.source
@options.engine
@click.option("--json", "as_json", is_flag=True, help="One JSON object for machines.")
@click.option("--rows", default=ROWS, show_default=True, help="Most rows of a table; 0 for all.")
def command(
    source: options.Source, engine: str, profiles: tuple[Path, ...], as_json: bool, rows: int
) -> None:
    """Show protocols, assets, conversations and points of captures or of an interface.

    \b
    Examples:
      gridwarden inspect station.pcapng
      gridwarden inspect /var/spool/captures --json | jq .protocols
      gridwarden inspect --interface eth1 --duration 30s
      ssh station tcpdump -i eth1 -w - -c 10000 | gridwarden inspect -
    """
    from sensor.inventory import Inventory

    with options.opened_source(source, engine, profiles, "Reading") as decoded:
        inventory = Inventory(decoded)
        for batch in decoded:
            inventory.add(batch)
    record = summary(decoded, inventory)
    if as_json:
        print_json(record)
    else:
        _show(record, rows)


def summary(decoded: Decoded, inventory: Inventory) -> dict[str, Any]:
    """Everything ``inspect`` tells, as one JSON object; times in epoch seconds."""
    counters = decoded.native.counters
    first = (decoded.first or 0) / 1e9
    last = decoded.last / 1e9
    duration = max(0.0, last - first)
    return {
        "packets": counters["frames"],
        "bytes": counters["bytes"],
        "first": first,
        "last": last,
        "duration_s": duration,
        "packets_per_s": counters["frames"] / duration if duration else 0.0,
        "messages": inventory.messages,
        "points": len(inventory.points),
        "malformed": inventory.malformed + counters["malformed"],
        "truncated": counters["truncated"],
        "undecoded": decoded.undecoded,
        "lost": decoded.dropped,
        "tcp_gaps": counters["gaps"],
        "tcp_retransmitted": counters["retransmitted"],
        "fragments": counters["fragments"],
        "copies": counters["copies"],
        "backwards": counters["backwards"],
        "protocols": inventory.protocols(),
        "assets": inventory.assets(),
        "conversations": [
            dict(row) | _carried(row["protocol"], row["port"], decoded) for row in inventory.conversations()
        ],
        "tables": decoded.names.counters(),
        "problems": [*decoded.notes, *(str(problem) for problem in decoded.problems)],
    }


def _carried(protocol: str, port: int, decoded: Decoded) -> dict[str, str]:
    """What TLS wraps, by the port of the server; only for conversations of TLS."""
    return {"carries": decoded.names.registry.behind_tls(port)} if protocol == "tls" else {}


def _show(record: dict[str, Any], rows: int) -> None:
    _show_head(record)
    limit = rows or None
    _table("Protocols", ["protocol", "packets", "messages", "conversations"], record["protocols"], limit)
    assets = [
        {
            "address": ", ".join(asset["ip"]) or asset["mac"],
            "MAC": asset["mac"],
            "vendor": asset["vendor"],
            "roles": ", ".join(asset["roles"]),
        }
        for asset in record["assets"]
    ]
    _table("Assets", ["address", "MAC", "vendor", "roles"], assets, limit)
    conversations = [
        {
            "client": row["src"],
            "server": row["dst"],
            "protocol": _protocol(row),
            "messages": row["messages"],
            "kinds": ", ".join(f"{name} {count}" for name, count in row["kinds"].items()),
        }
        for row in record["conversations"]
    ]
    _table("Conversations", ["client", "server", "protocol", "messages", "kinds"], conversations, limit)


def _protocol(row: dict[str, Any]) -> str:
    """Protocol, its port or what it wraps where that says more, what separates conversations of two hosts."""
    port = f"/{row['port']}" if row["protocol"] in ("tcp", "udp") else ""
    carried = f" ({row['carries']})" if row.get("carries") else ""
    return f"{row['protocol']}{port}{carried} {row['sub']}".strip()


def _show_head(record: dict[str, Any]) -> None:
    span = f"{_utc(record['first'])} to {_utc(record['last'])} UTC ({record['duration_s']:,.1f} s)"
    out.print(
        f"[bold]{record['packets']:,}[/] packets, {record['bytes']:,} bytes, "
        f"[bold]{record['messages']:,}[/] messages, {record['points']:,} points"
    )
    if record["packets"]:
        out.print(span, highlight=False)
    doubts = {
        "malformed": record["malformed"],
        "truncated": record["truncated"],
        "not decoded": record["undecoded"],
        "lost before capture": record["lost"],
        "TCP gaps": record["tcp_gaps"],
        "TCP retransmissions": record["tcp_retransmitted"],
        "IP fragments": record["fragments"],
    }
    told = ", ".join(f"{count:,} {name}" for name, count in doubts.items() if count)
    out.print(told or "nothing malformed, lost or undecoded", style="dim", highlight=False)


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def _table(title: str, columns: list[str], rows: list[dict[str, Any]], limit: int | None) -> None:
    table = Table(
        title=f"{title} ({len(rows)})",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for column in columns:
        table.add_column(column, justify="right" if column in ("packets", "messages") else "left")
    for row in rows[:limit]:
        values = [
            row["name"] if column == "protocol" and "name" in row else row[column] for column in columns
        ]
        table.add_row(*(escape(f"{v:,}" if isinstance(v, int) else str(v)) for v in values))
    out.print(table)
    if limit and len(rows) > limit:
        out.print(f"… and {len(rows) - limit} more (--rows 0 shows all)", style="dim")

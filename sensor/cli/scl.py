"""``gridwarden scl``: station descriptions (IEC 61850-6) as engineered entries of a baseline."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape
from rich.table import Table

from sensor.cli.common import Command, err, out, print_json

if TYPE_CHECKING:
    from detectors.baseline import Baseline
    from sensor.scl.station import Station

FILE = click.Path(path_type=Path, dir_okay=False)
SHOWN_REMARKS = 12
SHOWN_ENTRIES = 4


@click.group("scl")
def command() -> None:
    """Import and show station descriptions (SCD, CID, IID, ICD).

    \b
    Examples:
      gridwarden scl show station.scd
      gridwarden scl import station.scd -o station.baseline
    """


@command.command("import", cls=Command)
@click.argument("files", type=FILE, nargs=-1, required=True)
@click.option("-o", "--output", required=True, type=FILE, help="Baseline to write.")
@click.option("--into", type=FILE, help="Baseline whose learned and approved entries are kept.")
@click.option(
    "--complete/--partial",
    default=None,
    help="Does the description list every publisher? By default a .scd does, other files do not.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object for machines.")
def import_command(
    files: tuple[Path, ...], output: Path, into: Path | None, complete: bool | None, as_json: bool
) -> None:
    """Protect a station by its description: from the first minute, without learning.

    Publishers, addresses, data sets and MMS clients become engineered entries; `gridwarden detect` says what
    deviates from them, in the station's own names. What an earlier import said of the same IEDs is replaced.

    \b
    Examples:
      gridwarden scl import station.scd -o station.baseline
      gridwarden scl import station.scd --into learned.baseline -o station.baseline
      gridwarden scl import bay1.cid bay2.cid -o bays.baseline
    """
    from detectors.compare import merge
    from sensor.cli.baseline import load
    from sensor.cli.learn import write
    from sensor.scl.tables import import_into

    stations = []
    imported: Baseline | None = None
    for path in files:
        station, made = _read(path, complete)
        stations.append(station)
        imported = made if imported is None else merge(imported, made)
    assert imported is not None
    baseline = imported if into is None else import_into(load(into), imported)
    write(baseline, output)
    remarks = [remark for station in stations for remark in station.remarks]
    record: dict[str, Any] = {
        "baseline": str(output),
        "scl": baseline.params["scl"],
        "rows": {name: len(table) for name, table in baseline.tables.items()},
        "remarks": remarks,
    }
    if as_json:
        print_json(record)
        return
    rows = record["rows"]
    out.print(
        f"[bold]{escape(str(output))}[/]: {rows['control_blocks']} published streams, "
        f"{rows['dataset_entries']} data set values, {rows['devices']} access points, "
        f"{rows['associations']} MMS associations, all engineered",
        highlight=False,
        soft_wrap=True,
    )
    if not rows["control_blocks"]:
        err.print(
            "no published stream with an address: nothing will be expected of GOOSE or SV", style="yellow"
        )
    _tell(remarks, sum(station.untold for station in stations))


@command.command("show", cls=Command)
@click.argument("file", type=FILE)
@click.option("--json", "as_json", is_flag=True, help="One JSON object for machines.")
def show_command(file: Path, as_json: bool) -> None:
    """What a station description says about the network.

    \b
    Examples:
      gridwarden scl show station.scd
      gridwarden scl show bay1.cid --json | jq .control_blocks
    """
    station, made = _read(file, None)
    if as_json:
        tables = ("devices", "control_blocks", "dataset_entries", "associations")
        print_json(
            {
                "scl": made.params["scl"][0],
                **{name: made.tables[name].drop(columns="origin").to_dict("records") for name in tables},
                "remarks": station.remarks,
            }
        )
        return
    scl = made.params["scl"][0]
    out.print(
        f"[bold]{escape(str(file))}[/]: {escape(station.ident or 'no id')}, SCL edition "
        f"{escape(station.edition)}, revision {escape(station.revision or '-')}, "
        f"{'complete' if scl['complete'] else 'single IEDs'}",
        highlight=False,
        soft_wrap=True,
    )
    _devices(made)
    _streams(made)
    _associations(made)
    _tell(station.remarks, station.untold)


def _read(path: Path, complete: bool | None) -> tuple[Station, Baseline]:
    from sensor.errors import SclError
    from sensor.scl.devices import station_of
    from sensor.scl.document import load, parse
    from sensor.scl.tables import baseline_of

    data = load(path)
    station = station_of(parse(data, path.name), path.name)
    if not station.devices:
        raise SclError(f"{path}: describes no IED; is it the file that was meant?")
    whole = path.suffix.lower() == ".scd" if complete is None else complete
    return station, baseline_of(station, whole, hashlib.sha256(data).hexdigest())


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold")
    return table


def _row(table: Table, *cells: object) -> None:
    table.add_row(*(escape(str(cell)) for cell in cells))


def _devices(made: Baseline) -> None:
    table = _table("Access points", "IED", "AP", "address", "subnetwork", "server", "maker", "description")
    for row in made.rows("devices"):
        maker = " ".join(part for part in (row.manufacturer, row.type) if part)
        server = "MMS" if row.server else ""
        address = row.address or row.mac
        _row(table, row.ied, row.access_point, address, row.subnetwork, server, maker, row.description)
    out.print(table)


def _streams(made: Baseline) -> None:
    names: dict[str, list[str]] = {}
    for row in made.rows("dataset_entries"):
        names.setdefault(row.ref, []).append(row.name.partition("/")[2])
    table = _table("Published", "stream", "to", "APPID", "VLAN", "times, ms", "rev", "values")
    for row in made.rows("control_blocks"):
        vlan = "-" if row.vlan < 0 else f"{row.vlan}" + (f" prio {row.priority}" if row.priority >= 0 else "")
        times = "-" if row.max_ms < 0 else f"{max(row.min_ms, 0):g} … {row.max_ms:g}"
        known = names.get(row.ref, [])
        rest = f" and {len(known) - SHOWN_ENTRIES} more" if len(known) > SHOWN_ENTRIES else ""
        _row(
            table,
            row.ref,
            row.destination or "-",
            f"0x{row.appid:04X}" if row.appid >= 0 else "-",
            vlan,
            times,
            row.conf_rev if row.conf_rev >= 0 else "-",
            f"{max(row.values, row.entries, 0)}: " + ", ".join(known[:SHOWN_ENTRIES]) + rest,
        )
    out.print(table)


def _associations(made: Baseline) -> None:
    table = _table("MMS clients", "client", "server")
    for row in made.rows("associations"):
        _row(table, f"{row.client_ied} {row.client}", f"{row.server_ied} {row.server}")
    if table.row_count:
        out.print(table)


def _tell(remarks: list[str], untold: int) -> None:
    """What was left out or could not be understood, on standard error."""
    for remark in remarks[:SHOWN_REMARKS]:
        err.print(f"- {escape(remark)}", highlight=False, soft_wrap=True)
    rest = len(remarks) - SHOWN_REMARKS + untold
    if rest > 0:
        err.print(f"- and {rest} more remarks; --json has them", highlight=False)

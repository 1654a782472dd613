"""``gridwarden detect``: captures or an interface held against a baseline."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sensor.cli import options
from sensor.cli.common import Command, err, out, print_json
from sensor.errors import UsageError

if TYPE_CHECKING:
    from detectors.base import Alert
    from detectors.baseline import Baseline
    from sensor.engines import Decoded
    from sensor.result import Result

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("detect", cls=Command)
@options.source
@click.option("-b", "--baseline", "baseline_file", required=True, type=FILE, help="From `gridwarden learn`.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="One JSON object per alert, sorted by start, then one per event; live: as each one closes.",
)
@click.option(
    "--state-from",
    type=FILE,
    help="TOML file with [[window]] tables (state, since, until, who, why, hosts): maintenance and test "
    "windows beside those of the baseline.",
)
@click.option("--report", type=FILE, help="Write a self-contained HTML report.")
@click.option("--store", type=FILE, help="Add alerts, incidents, assets and series to an SQLite store.")
@click.option(
    "--evidence",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="For each alert from warning up a bundle with its frames; see `gridwarden evidence`.",
)
@click.option(
    "--fail-on",
    type=click.Choice(["notice", "warning", "alarm"]),
    help="Exit with 1 when there is an alert of this level or above.",
)
@options.engine
@click.pass_context
def command(
    ctx: click.Context,
    source: options.Source,
    baseline_file: Path,
    as_json: bool,
    state_from: Path | None,
    report: Path | None,
    store: Path | None,
    evidence: Path | None,
    fail_on: str | None,
    engine: str,
    profiles: tuple[Path, ...],
) -> None:
    """Find what departs from a baseline or breaks a protocol's standard, in captures or on an interface.

    \b
    Examples:
      gridwarden detect today.pcapng -b station.baseline
      gridwarden detect today.pcapng -b station.baseline --report today.html --store site.db
      gridwarden detect --interface eth1 -b station.baseline --filter 'not port 22'
      gridwarden detect today.pcapng -b station.baseline --evidence today.evidence
      gridwarden detect fat.pcap -b station.baseline --json --fail-on warning | jq .summary
      gridwarden detect may.pcap -b station.baseline --state-from windows.toml
    """
    from sensor.cli.baseline import load
    from sensor.result import alert_record, event_record, level_rank
    from sensor.run import run_detect

    if evidence is not None and source.live:
        raise UsageError("--evidence is for captures; `gridwarden run` keeps evidence of an interface")
    baseline = load(baseline_file)
    if state_from is not None:
        add_windows(baseline, state_from)
    with options.opened_source(source, engine, profiles, "Detecting") as decoded:
        gc.freeze()  # programs and baseline stay: a collection need not go through them again
        told = _teller(as_json) if source.live else None
        result = run_detect(decoded, baseline, source.names, baseline_file.name, told)
    if evidence is not None:
        write_evidence(evidence, result, decoded, baseline_file, baseline, profiles)
    write_outputs(result, report, store)  # first: a reader may close the pipe early
    if as_json:
        for alert in result.alerts if told is None else ():
            print_json(alert_record(alert))
        for event in result.events:
            print_json(event_record(event))
    else:
        from sensor.report.text import print_summary

        print_summary(out, result)
    if fail_on and any(level_rank(alert.level) >= level_rank(fail_on) for alert in result.alerts):
        ctx.exit(1)


def write_evidence(
    folder: Path,
    result: Result,
    decoded: Decoded,
    baseline_file: Path,
    baseline: Baseline,
    profiles: tuple[Path, ...],
) -> None:
    """Bundles of a run over captures."""
    import time

    from sensor.bundle.captures import bundle_captures
    from sensor.bundle.origin import origin_from
    from sensor.evidence import dissected_text

    origin = origin_from(baseline_file, baseline, decoded.engine, profiles)
    made, left_out = bundle_captures(
        result.alerts, decoded.files, folder, origin, time.time(), dissected_text
    )
    more = f"; {left_out:,} alerts are beyond the bound and have none" if left_out else ""
    words = f"evidence: {folder}, {len(made):,} bundles{more}"
    err.print(words, markup=False, highlight=False, soft_wrap=True)


def _teller(as_json: bool) -> Callable[[Alert], None]:
    """Writes each alert of a live capture at once, as a JSON line or for people."""
    from sensor.report.text import alert_line
    from sensor.result import alert_record

    def tell(alert: Alert) -> None:
        if as_json:
            print_json(alert_record(alert))
            sys.stdout.flush()
        else:
            out.print(alert_line(alert), soft_wrap=True)

    return tell


def add_windows(baseline: Baseline, file: Path) -> None:
    """Windows of a TOML file, for this run only; raises InputError with file and table."""
    import tomllib

    from detectors.baseline import BaselineError
    from detectors.states import WINDOWS, window_from
    from sensor.errors import InputError

    try:
        given = tomllib.loads(file.read_text("utf-8")).get("window", [])
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: cannot be read: {error}") from error
    windows = list(baseline.params.get(WINDOWS, []))
    for number, table in enumerate(given if isinstance(given, list) else [given], 1):
        try:
            windows.append(window_from(_with_moments(table)).record())
        except BaselineError as error:
            raise InputError(f"{file}: [[window]] {number}: {error}") from error
    if not windows:
        raise InputError(f"{file}: no [[window]] in it")
    baseline.params[WINDOWS] = windows


def _with_moments(table: Any) -> Any:
    """Dates of TOML as epoch seconds; without a zone they are UTC."""
    from datetime import UTC, datetime

    if not isinstance(table, dict):
        return table
    made = dict(table)
    for name in ("since", "until"):
        value = made.get(name)
        if isinstance(value, datetime):
            made[name] = (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    return made


def write_outputs(result: Result, report: Path | None, store: Path | None) -> None:
    """Write the report and the store where asked for."""
    if report is not None:
        from sensor.report.html import write_report

        write_report(report, result)
        err.print(f"report: {report}", markup=False, highlight=False, soft_wrap=True)
    if store is not None:
        from sensor.store.sqlite import Store

        with Store.open(store) as opened:
            opened.write(result)
        err.print(f"store: {store}", markup=False, highlight=False, soft_wrap=True)

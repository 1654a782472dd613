"""``gridwarden learn``: captures of normal operation, or an interface, become a baseline."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.markup import escape
from rich.table import Table

from sensor.cli import options
from sensor.cli.common import Command, out, print_json
from sensor.errors import InputError

if TYPE_CHECKING:
    from detectors.baseline import Baseline

MODEL_NAMES: Final = ("knn", "hbos", "pca", "gmm", "iforest", "ecod", "loda", "mean")
"""As in ``detectors.behaviour.MODELS``; repeated so that ``--help`` need not import it."""


@click.command("learn", cls=Command)
@options.source
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Baseline to write.",
)
@click.option(
    "--false-alarms-per-day",
    default=1.0,
    show_default=True,
    help="What the site accepts, over all statistical detectors together.",
)
@click.option(
    "--model", type=click.Choice(MODEL_NAMES), default="knn", show_default=True, help="Behaviour model."
)
@click.option(
    "--time-zone",
    default="UTC",
    show_default=True,
    help="Of the site, for the rhythm of day and week: Europe/Zurich, +08:00.",
)
@click.option(
    "--approve-commands",
    is_flag=True,
    help="Approve every dangerous message seen (switching, set-points, files ...) without looking.",
)
@click.option(
    "--state",
    type=click.Choice(["maintenance", "test"]),
    help="What is learned counts only while this state is on; -o names the site's baseline, which keeps it.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object for machines.")
@options.engine
def command(
    source: options.Source,
    output: Path,
    false_alarms_per_day: float,
    model: str,
    time_zone: str,
    approve_commands: bool,
    state: str | None,
    as_json: bool,
    engine: str,
    profiles: tuple[Path, ...],
) -> None:
    """Learn what is normal at a site from captures without attacks.

    Commands, set-points and other messages that change the plant are listed for approval and not
    learned silently. The baseline is a zip archive of plain tables.

    \b
    Examples:
      gridwarden learn monday.pcapng tuesday.pcapng -o station.baseline
      gridwarden learn captures/ -o station.baseline --false-alarms-per-day 0.2
      gridwarden learn --interface eth1 --duration 1h -o station.baseline
      gridwarden learn relay-test.pcap --state test -o station.baseline
      gridwarden learn fat.pcap -o fat.baseline --approve-commands --json
    """
    from sensor.pipeline import LearnOptions, learn

    chosen = LearnOptions(false_alarms_per_day=false_alarms_per_day, model=model, time_zone=time_zone)
    chosen.check()
    began = time.monotonic()
    with options.opened_source(source, engine, profiles, "Learning") as decoded:
        baseline = learn(decoded, decoded.names, chosen)
    if decoded.first is None:
        raise InputError(f"{', '.join(source.names)}: not a single frame, nothing to learn from")
    first, last = decoded.first / 1e9, decoded.last / 1e9
    baseline.created_from = [
        {"captures": [Path(name).name for name in source.names], "first": first, "last": last}
        | {"packets": int(baseline.params["packets"])}
    ]
    approved: list[str] = []
    if approve_commands:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        approved = baseline.approve(None, "learn --approve-commands", "approved while learning", now)
    if state is not None:
        baseline = with_state(output, state, baseline)
    write(baseline, output)
    record = summary(baseline, output) | {"approved": approved, "duration_s": time.monotonic() - began}
    if as_json:
        print_json(record)
    else:
        show(baseline, record)


def with_state(site: Path, state: str, learned: Baseline) -> Baseline:
    """The site's baseline with what was learned in a state as the allow-list of that state."""
    from detectors.baseline import BaselineError
    from detectors.states import keep_list
    from sensor.cli.baseline import load
    from sensor.errors import UsageError

    if not site.is_file():
        raise UsageError(f"{site}: learn normal operation first; what belongs to a state is kept beside it")
    baseline = load(site)
    try:
        keep_list(baseline, state, learned)
    except BaselineError as error:
        raise UsageError(str(error)) from error
    return baseline


def write(baseline: Baseline, output: Path) -> None:
    """Save a baseline; a full disk or a missing folder is the user's to mend."""
    from sensor.errors import UsageError

    try:
        baseline.save(output)
    except OSError as error:
        raise UsageError(f"{output}: cannot be written: {error.strerror or error}") from error


def summary(baseline: Baseline, path: Path) -> dict[str, Any]:
    """What is in a baseline, as a JSON object."""
    from detectors.completeness import completeness
    from detectors.rhythm_learner import learned_rhythm

    review, estimate = baseline.tables["review"], completeness(baseline)
    return {
        "baseline": str(path),
        "params": baseline.params,
        "created_from": baseline.created_from,
        "rows": {name: len(table) for name, table in baseline.tables.items()},
        "review": review.to_dict("records"),
        "rule_hits": baseline.tables["rule_hits"].to_dict("records"),
        "completeness": estimate.record() if estimate else None,
        "advice": estimate.sentence if estimate else "",
        "rhythm": learned_rhythm(baseline).sentence if estimate else "",
        "notes": baseline.remarks(),
    }


def show(baseline: Baseline, record: dict[str, Any]) -> None:
    """The same for people."""
    rows, params = record["rows"], baseline.params
    out.print(f"[bold]{escape(record['baseline'])}[/]", highlight=False)
    out.print(
        f"{params.get('messages', 0):,} messages of {params.get('learned_s', 0.0):,.0f} s; "
        f"{rows['assets']} hosts, {rows['conversations']} conversations, {rows['kinds']} kinds, "
        f"{rows['points']} points, {rows['values']} values; model {params.get('model')}, "
        f"{params.get('false_alarms_per_day')} false alarms per day",
        highlight=False,
    )
    advice = [text for text in (record["advice"], record["rhythm"]) if text]
    for note in [*advice, *record["notes"]]:
        out.print(f"- {escape(note)}", highlight=False)
    _review(baseline)
    _hits(baseline)


def _review(baseline: Baseline) -> None:
    review = baseline.tables["review"]
    if not len(review):
        return
    table = _table("Messages that change the plant", ("id", "origin", "count", "what"))
    for row in review.itertuples(index=False):
        what = f"{row.name}, {row.client} to {row.server} ({row.protocol}): {row.points}"
        table.add_row(*(escape(str(cell)) for cell in (row.id, row.origin, row.count, what)))
    out.print(table)


def _hits(baseline: Baseline) -> None:
    hits = baseline.tables["rule_hits"]
    if not len(hits):
        return
    table = _table("Rules broken while learning", ("rule", "count", "first case"))
    for row in hits.itertuples(index=False):
        table.add_row(*(escape(str(cell)) for cell in (row.rule, row.count, row.summary)))
    out.print(table)


def _table(title: str, columns: tuple[str, ...]) -> Table:
    """Only the last column wraps: an id that is cut cannot be approved."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for name in columns[:-1]:
        table.add_column(name, no_wrap=True, justify="right" if name == "count" else "left")
    table.add_column(columns[-1], ratio=1, overflow="fold")
    return table

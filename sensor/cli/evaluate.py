"""``gridwarden evaluate``: detections held against what really happened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from rich.table import Table
from rich.text import Text

from sensor.cli import options
from sensor.cli.common import Command, err, out, print_json
from sensor.errors import UsageError

if TYPE_CHECKING:
    from detectors.baseline import Baseline
    from sensor.evaluate import Evaluation, Rule
    from sensor.labels import Event
    from sensor.manifest import Scenario

MOST_EVENTS: Final = 30
LEVEL_NAMES: Final = ("info", "notice", "warning", "alarm")
FILE: Final = click.Path(path_type=Path, dir_okay=False)


@dataclass(frozen=True, slots=True)
class Reading:
    """How captures are read."""

    engine: str
    profiles: tuple[Path, ...]


@click.command("evaluate", cls=Command)
@click.argument("captures", nargs=-1, metavar="[CAP]...")
@click.option("--labels", type=FILE, help="Labelled events (CSV: start,end,label,technique,src,dst,note).")
@click.option("-b", "--baseline", "baseline_file", type=FILE, help="Baseline to detect with.")
@click.option("--manifest", type=FILE, help="Learn and evaluate a whole collection listed in this CSV file.")
@click.option("--scenario", multiple=True, help="With --manifest: only this scenario (repeatable).")
@click.option(
    "--approve-commands", is_flag=True, help="With --manifest: approve the commands seen while learning."
)
@click.option(
    "--compare",
    "comparing",
    is_flag=True,
    help="With --manifest: beside each part of the detection, strangers in disguise, and trivial detectors.",
)
@click.option(
    "--min-level",
    type=click.Choice(LEVEL_NAMES),
    default="notice",
    show_default=True,
    help="Least level of an alert that counts, for detection and for false alarms alike.",
)
@click.option(
    "--grace",
    default=5.0,
    show_default=True,
    type=click.FloatRange(0, 3600),
    help="Seconds after an event in which an alert still counts as its own.",
)
@click.option("--json", "as_json", is_flag=True, help="JSON for machines, one object per capture.")
@options.engine
def command(
    captures: tuple[str, ...],
    labels: Path | None,
    baseline_file: Path | None,
    manifest: Path | None,
    scenario: tuple[str, ...],
    approve_commands: bool,
    comparing: bool,
    min_level: str,
    grace: float,
    as_json: bool,
    engine: str,
    profiles: tuple[Path, ...],
) -> None:
    """Measure recall, false alarms per day and delay on labelled captures.

    An attack counts as detected when an alert overlaps it in time (plus --grace after it) and names one
    of its hosts. Every other alert is a false one. No point-adjusting.

    \b
    Examples:
      gridwarden evaluate attack.pcap --labels attack.labels.csv -b station.baseline
      gridwarden evaluate attack.pcap --labels attack.labels.csv -b station.baseline --json | jq .recall
      gridwarden evaluate --manifest corpus/manifest.csv --scenario modbus-lemay
      gridwarden evaluate --manifest corpus/manifest.csv --compare
    """
    from detectors.base import Level
    from sensor.evaluate import Rule

    rule = Rule(Level(LEVEL_NAMES.index(min_level)), grace)
    reading = Reading(engine, profiles)
    if manifest is not None:
        if captures or labels is not None or scenario_conflict(baseline_file, scenario):
            raise UsageError(
                "--manifest names captures and labels itself; give either it or CAP with --labels"
            )
        if comparing:
            if baseline_file is not None:
                raise UsageError("--compare learns by itself, for the trivial detectors too: leave -b out")
            from sensor.cli.comparing import compare
            from sensor.manifest import read_manifest

            compare(read_manifest(manifest, scenario), approve_commands, rule, engine, profiles, as_json)
            return
        _collection(manifest, scenario, baseline_file, approve_commands, rule, reading, as_json)
        return
    if comparing:
        raise UsageError("--compare needs --manifest: it learns and evaluates a whole collection")
    if not captures or labels is None or baseline_file is None:
        raise UsageError("give CAP, --labels and -b, or --manifest; see gridwarden evaluate --help")
    _single(captures, labels, baseline_file, rule, reading, as_json)


def scenario_conflict(baseline_file: Path | None, scenario: tuple[str, ...]) -> bool:
    """A ready baseline fits one scenario only."""
    return baseline_file is not None and len(scenario) != 1


def _single(
    captures: tuple[str, ...],
    labels: Path,
    baseline_file: Path,
    rule: Rule,
    reading: Reading,
    as_json: bool,
) -> None:
    from sensor.cli.baseline import load
    from sensor.labels import read_labels

    events = read_labels(labels)  # before the work: a bad row should not cost minutes
    found = _evaluated(captures, events, load(baseline_file), rule, reading)
    if as_json:
        print_json({"captures": list(captures), "labels": str(labels)} | found.record())
    else:
        show(found, ", ".join(captures))


def _collection(
    manifest: Path,
    wanted: tuple[str, ...],
    baseline_file: Path | None,
    approve: bool,
    rule: Rule,
    reading: Reading,
    as_json: bool,
) -> None:
    from sensor.cli.baseline import load
    from sensor.evaluate import pool
    from sensor.labels import read_labels
    from sensor.manifest import labels_of, read_manifest

    rows: list[tuple[str, Evaluation]] = []
    for scenario in read_manifest(manifest, wanted):
        labelled = [(capture, read_labels(labels_of(capture))) for capture in scenario.tests]
        baseline = load(baseline_file) if baseline_file else _learned(scenario, approve, reading)
        parts: list[Evaluation] = []
        for capture, events in labelled:
            found = _evaluated((str(capture),), events, baseline, rule, reading)
            parts.append(found)
            rows.append((f"{scenario.name}/{capture.stem}", found))
            if as_json:
                print_json({"scenario": scenario.name, "capture": str(capture)} | found.record())
        rows.append((f"{scenario.name} (all)", pool(parts)))
        if as_json:
            total = rows[-1][1].record() | {"per_event": [], "levels": []}
            print_json({"scenario": scenario.name, "capture": None} | total)
    if not as_json:
        out.print(overview(rows, rule))


def _learned(scenario: Scenario, approve: bool, reading: Reading) -> Baseline:
    from sensor.pipeline import learn

    if not scenario.train:
        raise UsageError(f"scenario {scenario.name} has nothing to learn from; give its baseline with -b")
    files = tuple(map(str, scenario.train))
    with options.opened(files, reading.engine, reading.profiles, f"Learning {scenario.name}") as decoded:
        baseline = learn(decoded, decoded.names)
    if approve:
        baseline.approve(None, "evaluate --approve-commands", "approved while learning", "")
    return baseline


def _evaluated(
    captures: tuple[str, ...], events: list[Event], baseline: Baseline, rule: Rule, reading: Reading
) -> Evaluation:
    from sensor.evaluate import Rule, aliases_of, evaluate
    from sensor.run import run_detect

    title = Path(captures[0]).name
    with options.opened(captures, reading.engine, reading.profiles, title) as decoded:
        result = run_detect(decoded, baseline, captures)
    return evaluate(result, events, Rule(rule.min_level, rule.grace, aliases_of(result)))


def show(found: Evaluation, title: str) -> None:
    """One capture's figures for people."""
    head = Text(title, style="bold")
    head.append(f"\n{_hours(found.hours)} observed, {found.packets:,} frames; ", style="default")
    head.append(f"alerts from {found.min_level} up, grace {found.grace_s:g} s", style="default")
    out.print(head)
    out.print(_levels(found))
    if found.per_event:
        out.print(_events(found))
    sentences = [
        f"Recall {_share(found.recall)} (95 % interval {_interval(found.recall_interval, percent=True)}); "
        f"{found.fresh} of {found.detected} detected events had an alert that began in them.",
        f"False alarms per day {_number(found.false_alarms_per_day)} "
        f"(95 % interval {_interval(found.false_alarms_interval)}) from {_hours(found.hours)} observed.",
        f"Some alert was ringing during {_share(found.alerted_share)} of the time.",
    ]
    if found.disturbances:
        sentences.append(
            f"Benign disturbances: {found.disturbances}, of which {found.disturbances_alerted} were reported "
            f"and {found.disturbances_called_attack} wrongly called an attack."
        )
    out.print("\n".join(sentences), highlight=False, markup=False)
    for note in found.notes:
        err.print(f"note: {note}", style="yellow", markup=False, highlight=False)


def overview(rows: list[tuple[str, Evaluation]], rule: Rule) -> Table:
    """One row per capture, one per scenario."""
    title = f"Alerts from {LEVEL_NAMES[rule.min_level]} up, grace {rule.grace:g} s"
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("capture", overflow="fold", header_style="dim")
    for column in ("found", "fresh", "false", "false/day", "95 % interval", "delay", "hours", "ringing"):
        table.add_column(column, justify="right", no_wrap=True, header_style="dim")
    for name, found in rows:
        cells = (
            f"{found.detected}/{found.events}",
            str(found.fresh),
            str(found.false_incidents),
            _number(found.false_alarms_per_day),
            _interval(found.false_alarms_interval),
            _seconds(found.median_delay_s),
            f"{found.hours:.2f}",
            _share(found.alerted_share),
        )
        table.add_row(Text(name), *cells, style="bold" if name.endswith("(all)") else None)
    return table


def _levels(found: Evaluation) -> Table:
    table = Table(pad_edge=False, box=None)
    columns = (
        "level",
        "events",
        "detected",
        "fresh",
        "recall",
        "false incidents",
        "false/day",
        "median delay",
    )
    for column in columns:
        table.add_column(column, justify="left" if column == "level" else "right", header_style="dim")
    for row in found.levels:
        table.add_row(
            f"{row.level} and up",
            str(row.events),
            str(row.detected),
            str(row.fresh),
            _share(row.recall),
            str(row.false_incidents),
            _number(row.false_alarms_per_day),
            _seconds(row.median_delay_s),
            style="bold" if row.level == found.min_level else None,
        )
    return table


def _events(found: Evaluation) -> Table:
    table = Table(title="Events", title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in ("start", "lasts", "label", "technique", "found", "delay", "level", "reads as", "note"):
        table.add_column(column, header_style="dim")
    for event in found.per_event[:MOST_EVENTS]:
        verdict = "yes" if event.fresh else "was ringing" if event.detected else "missed"
        table.add_row(
            f"{event.start:.3f}",
            f"{event.end - event.start:.3g} s",
            Text(event.label),
            Text(event.technique),
            verdict,
            _seconds(event.delay_s),
            Text(event.level),
            Text(event.reading),
            Text(event.note[:60]),
        )
    if len(found.per_event) > MOST_EVENTS:
        table.caption = f"and {len(found.per_event) - MOST_EVENTS} more; --json lists all"
    return table


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _number(value: float | None) -> str:
    return "–" if value is None else _figures(value)


def _figures(value: float) -> str:
    """Three significant digits, never in exponents."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f} s"


def _interval(bounds: tuple[float, float] | None, percent: bool = False) -> str:
    if bounds is None:
        return "–"
    low, high = (f"{bound:.0%}" if percent else _figures(bound) for bound in bounds)
    return f"{low} … {high}"


def _hours(hours: float) -> str:
    return f"{hours:.2f} h"

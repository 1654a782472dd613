"""``gridwarden evaluate --compare``: our detection beside its parts, in disguise, and beside trivial ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from sensor.cli import options
from sensor.cli.common import out, print_json

if TYPE_CHECKING:
    from detectors.baseline import Baseline
    from sensor.evaluate import Evaluation, Rule
    from sensor.manifest import Scenario
    from sensor.trivial import Traffic

DISGUISED = "all, strangers disguised"


def compare(
    scenarios: list[Scenario],
    approve: bool,
    rule: Rule,
    engine: str,
    profiles: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Print one table per scenario, or one JSON object per scenario and variant."""
    from sensor.evaluate import pool

    for scenario in scenarios:
        variants: dict[str, list[Evaluation]] = {}
        baseline, learned = _learn(scenario, approve, engine, profiles)
        for capture in scenario.tests:
            for name, found in _variants(capture, baseline, learned, rule, engine, profiles).items():
                variants.setdefault(name, []).append(found)
        pooled = {name: pool(parts) for name, parts in variants.items()}
        if as_json:
            for name, total in pooled.items():
                figures = total.record() | {"per_event": [], "levels": []}
                print_json({"scenario": scenario.name, "variant": name} | figures)
        else:
            out.print(_table(scenario.name, pooled))


def _learn(
    scenario: Scenario, approve: bool, engine: str, profiles: tuple[Path, ...]
) -> tuple[Baseline, Traffic]:
    from sensor.errors import UsageError
    from sensor.pipeline import learn
    from sensor.trivial import Watched

    if not scenario.train:
        raise UsageError(f"scenario {scenario.name} has nothing to learn from")
    files = tuple(map(str, scenario.train))
    with options.opened(files, engine, profiles, f"Learning {scenario.name}") as decoded:
        watched = Watched(decoded.names)
        baseline = learn(watched.batches(decoded), decoded.names)
    if approve:
        baseline.approve(None, "evaluate --approve-commands", "approved while learning", "")
    return baseline, watched.traffic()


def _variants(
    capture: Path,
    baseline: Baseline,
    learned: Traffic,
    rule: Rule,
    engine: str,
    profiles: tuple[Path, ...],
) -> dict[str, Evaluation]:
    from sensor import trivial
    from sensor.comparison import FAMILIES, Disguise, ablated
    from sensor.evaluate import Rule, aliases_of, evaluate
    from sensor.labels import read_labels
    from sensor.manifest import labels_of
    from sensor.run import run_detect

    events = read_labels(labels_of(capture))

    def opened(title: str) -> Any:
        return options.opened((str(capture),), engine, profiles, title)

    with opened(capture.name) as decoded:
        watched = trivial.Watched(decoded.names)
        result = run_detect(decoded, baseline, [str(capture)], through=watched.batches)
    with opened(f"{capture.name}, disguised") as decoded:
        disguise = Disguise(decoded.names, baseline)
        hidden = run_detect(decoded, baseline, [str(capture)], through=disguise.batches)
    rule = Rule(rule.min_level, rule.grace, aliases_of(result))
    found = {family: evaluate(ablated(result, family), events, rule) for family in FAMILIES}
    found[DISGUISED] = evaluate(hidden, disguise.events(events), rule)
    seen = watched.traffic()
    for name in trivial.NAMES:
        run = trivial.judge(name, learned, seen, result)
        found[f"trivial: {name}"] = evaluate(run, trivial.fitting(name, events), rule)
    return found


def _table(title: str, rows: dict[str, Evaluation]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("variant", header_style="dim")
    for column in ("found", "recall", "false", "false/day", "delay", "ringing"):
        table.add_column(column, justify="right", no_wrap=True, header_style="dim")
    for name, found in rows.items():
        table.add_row(
            Text(name),
            f"{found.detected}/{found.events}",
            "–" if found.recall is None else f"{found.recall:.1%}",
            str(found.false_incidents),
            "–" if found.false_alarms_per_day is None else f"{found.false_alarms_per_day:,.0f}",
            "–" if found.median_delay_s is None else f"{found.median_delay_s:.2f} s",
            "–" if found.alerted_share is None else f"{found.alerted_share:.1%}",
        )
    return table

"""``gridwarden explain``: what an alert means, why it matters, what tells its readings apart."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from sensor.cli.common import Command, out, print_json
from sensor.errors import UsageError

if TYPE_CHECKING:
    from detectors.base import Alert
    from detectors.explain.catalogue import Catalogue
    from detectors.explain.explanation import KindFacts
    from sensor.cli.alert_sources import Source
    from sensor.report.explained import Shown

FILE = click.Path(path_type=Path, dir_okay=False)
LANGUAGES: Final = ("en", "zh_CN")
FRAMES: Final = 3
NUMBERS: Final = 12
"""Frame numbers that are named where frames are not shown."""


@click.command("explain", cls=Command)
@click.argument("ident", metavar="[ALERT]", default="")
@click.option("--last", is_flag=True, help="The newest alert, as ALERT -.")
@click.option("--store", type=FILE, help="Store that holds the alert.")
@click.option(
    "-c",
    "--config",
    "config_file",
    type=FILE,
    envvar="GRIDWARDEN_CONFIG",
    help="Configuration that names the store (or set GRIDWARDEN_CONFIG).",
)
@click.option(
    "--alerts",
    metavar="FILE.jsonl",
    help="Output of `detect --json` instead of a store; - for standard input.",
)
@click.option(
    "--capture",
    "captures",
    multiple=True,
    metavar="CAP",
    help="Capture that the alert is about (repeatable, in the order of the run); else those the store names.",
)
@click.option(
    "--frames",
    type=click.IntRange(0, 20),
    default=FRAMES,
    show_default=True,
    help="Frames of evidence to dissect, which needs tshark; 0 for none.",
)
@click.option(
    "--lang", type=click.Choice(LANGUAGES), help="Language; by default that of the environment, else English."
)
@click.option("--rule", "rule", metavar="RULE", help="Explain a rule as such, without an alert.")
@click.option("--all-rules", is_flag=True, help="List what can be explained.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object; with --all-rules one per rule.")
def command(
    ident: str,
    last: bool,
    store: Path | None,
    config_file: Path | None,
    alerts: str | None,
    captures: tuple[str, ...],
    frames: int,
    lang: str | None,
    rule: str | None,
    all_rules: bool,
    as_json: bool,
) -> None:
    """Explain an alert: what, why, and what tells its readings apart.

    Says what happened, why it matters, what speaks for a fault, an operation or an attack and which check
    decides between them, and what to look at first. ALERT is an id or the beginning of one, - for the newest.
    With the capture at hand its frames are dissected and the fields that decided are marked.

    \b
    Examples:
      gridwarden explain 3f2a --store site.db
      gridwarden explain --last --store site.db --lang zh_CN
      gridwarden detect day.pcapng -b site.baseline --json > day.jsonl
      gridwarden explain 3f2a --alerts day.jsonl --capture day.pcapng
      gridwarden explain --rule goose-replay
    """
    from detectors.explain.catalogue import load_catalogue

    catalogue = load_catalogue(lang or language_of(os.environ))
    if all_rules:
        _list_rules(catalogue, as_json)
        return
    if rule is not None:
        _explain_rule(rule, catalogue, as_json)
        return
    if bool(ident) == last:
        raise UsageError("which alert? Give its id, or --last for the newest; --all-rules lists the rules")
    found = _found("-" if last else ident, store, config_file, alerts)
    _explain(found, catalogue, _shown(found, captures, frames, catalogue), as_json)


def language_of(environment: os._Environ[str] | dict[str, str]) -> str:
    """The language that the environment asks for: Simplified Chinese for zh, else English."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        value = environment.get(name, "")
        if value:
            return "zh_CN" if value.lower().startswith("zh") else "en"
    return "en"


def _found(ident: str, store: Path | None, config_file: Path | None, alerts: str | None) -> Source:
    from sensor.cli.alert_sources import from_lines, from_store
    from sensor.cli.stores import chosen_store

    if alerts is not None:
        if store is not None:
            raise UsageError("either --store or --alerts, not both")
        return from_lines(alerts, ident)
    if store is None and config_file is None:
        raise UsageError(
            "where is the alert? Give --store FILE.db, -c gridwarden.toml or --alerts FILE.jsonl"
        )
    return from_store(chosen_store(config_file, store), ident)


def _explain(found: Source, catalogue: Catalogue, shown: Shown, as_json: bool) -> None:
    from detectors.explain.explanation import explained
    from sensor.report.explained import explanation_record, explanation_text

    alert = found.alert
    explanation = explained(alert, catalogue, kind_facts(alert), found.incident, found.lost)
    if as_json:
        print_json(explanation_record(alert, explanation, catalogue, shown))
    else:
        out.print(explanation_text(alert, explanation, catalogue, shown, len(found.incident)))


def kind_facts(alert: Alert) -> KindFacts:
    """Danger class and effect of the alert's kind of message, as its profile says."""
    from detectors.explain.explanation import KindFacts
    from grid_profiles.loader import load_registry

    try:
        kinds = load_registry().by_name(alert.protocol).kinds.values()
    except KeyError:
        return KindFacts()
    for kind in kinds:
        if alert.kind and kind.name == alert.kind:
            return KindFacts(kind.cls.value, kind.effect or "")
    return KindFacts()


def _shown(found: Source, captures: Sequence[str], most: int, catalogue: Catalogue) -> Shown:
    """The evidence: frames of the captures that were given, else of those that the run read."""
    from sensor.evidence import evidence_of
    from sensor.report.explained import Shown

    shown = Shown(nodes=_nodes(found.alert.protocol))
    frames = found.alert.frames
    names = list(captures) or found.captures
    gone = [] if captures else [name for name in names if not Path(name).is_file()]
    if not frames:
        shown.remarks.append(catalogue.say("evidence.none"))
    elif gone:
        shown.remarks.append(catalogue.say("evidence.gone", file=gone[0]))
    elif not names or not most:
        shown.remarks.append(catalogue.say("evidence.no-capture", frames=_numbers(frames)))
    else:
        evidence = evidence_of(frames, names, most)
        shown.pieces = evidence.pieces
        shown.remarks = [catalogue.say(key, **values) for key, values in evidence.problems]
        rest = frames[most:]
        if rest:
            shown.remarks.append(catalogue.say("evidence.more", count=len(rest), frames=_numbers(rest)))
    return shown


def _numbers(frames: Sequence[int]) -> str:
    """Frame numbers within their files, a few of them."""
    from sensor.evidence import MASK

    shown = [str(frame & MASK) for frame in frames[:NUMBERS]]
    return ", ".join(shown) + (" …" if len(frames) > NUMBERS else "")


def _nodes(protocol: str) -> frozenset[str]:
    """tshark's names of a protocol, as its profile gives them."""
    from grid_profiles.loader import load_registry

    try:
        tshark = load_registry().by_name(protocol).tshark
    except KeyError:
        return frozenset()
    return frozenset(tshark.nodes) if tshark is not None else frozenset()


def _explain_rule(rule: str, catalogue: Catalogue, as_json: bool) -> None:
    from detectors.base import blank_alert
    from detectors.explain.explanation import explained
    from sensor.report.explained import Shown, explanation_record, explanation_text

    if rule not in catalogue.entries:
        raise UsageError(f"there is no rule {rule!r}; --all-rules lists them")
    alert = blank_alert(rule)
    explanation = explained(alert, catalogue)
    fields = ", ".join(explanation.fields)
    shown = Shown(remarks=[catalogue.say("evidence.fields", fields=fields)] if fields else [])
    if as_json:
        print_json(explanation_record(alert, explanation, catalogue, shown))
    else:
        out.print(explanation_text(alert, explanation, catalogue, shown))


def _list_rules(catalogue: Catalogue, as_json: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    rows = [
        (entry.rule, entry.family, catalogue.about(entry.rule, "what", {}))
        for entry in catalogue.entries.values()
    ]
    if as_json:
        for rule, family, what in rows:
            print_json({"rule": rule, "family": family, "what": what})
        return
    table = Table(box=None, pad_edge=False)
    for title in ("rule-name", "family", "about"):
        table.add_column(catalogue.say(f"ui.{title}"), no_wrap=title == "rule-name", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    out.print(table)
    out.print(catalogue.say("ui.all-rules", count=len(rows)), style="dim", markup=False)

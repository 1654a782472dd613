"""What a person decided about alerts: accepted ones are silent afterwards, and every decision leaves a trail.

An acceptance is as narrow as the alert: the same rule, the same conversation (the same two hosts, where an
alert is about all their conversations), the same group and the items that it listed. What else these hosts do
is judged as before; a command among accepted traffic has a rule of its own and stays loud. Alerts about
amounts (timing, values, behaviour) are no entries: for them a baseline has to learn.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from detectors.base import Alert, Finding
from detectors.baseline import Baseline, BaselineError
from detectors.detector import LinkFinding
from detectors.groups import ConvKey, Lens
from detectors.tables import TABLES, Origin, conv_fields, conv_of, records

STATISTICAL: Final = frozenset({"timing", "values", "behaviour", "responses", "sequence", "rhythm"})
EXACT: Final = frozenset({"goose-configuration"})
"""Rules whose group does not say what came: what was observed belongs to the acceptance."""

SUMMED_UP: Final = "many"
NOWHERE: Final[ConvKey] = ("", "", "", 0, "", 0)

Key = tuple[str, ConvKey, bool, str, str]


def link_of(finding: Finding, lens: Lens) -> ConvKey:
    """The conversation that a finding is about; empty when it is about none."""
    if finding.conv >= 0:
        return lens.conv(finding.conv)
    return finding.link if isinstance(finding, LinkFinding) else NOWHERE


def scope_of(finding: Finding, lens: Lens) -> dict[str, Any]:
    """What ``Alert.scope`` holds, without the items, which a folded alert collects."""
    return {
        "conv": list(link_of(finding, lens)),
        "pair": finding.pair,
        "group": finding.group,
        "observed": finding.observed if finding.rule in EXACT else "",
    }


class Accepted:
    """Knows which findings a person has accepted."""

    def __init__(self, baseline: Baseline, lens: Lens) -> None:
        self.lens = lens
        self.silenced: Counter[str] = Counter()
        self._items: dict[Key, set[str]] = {}
        for row in baseline.rows("accepted"):
            key = (row.rule, _wide(conv_of(row), bool(row.pair)), bool(row.pair), row.group, row.observed)
            self._items.setdefault(key, set()).add(row.item)

    def covers(self, finding: Finding) -> bool:
        """Was the very same accepted?"""
        if not self._items:
            return False
        conv = _wide(link_of(finding, self.lens), finding.pair)
        observed = finding.observed if finding.rule in EXACT else ""
        items = self._items.get((finding.rule, conv, finding.pair, finding.group, observed))
        if items is None or finding.item not in items:
            return False
        self.silenced[finding.rule] += finding.count
        return True


def accept(baseline: Baseline, alert: Alert, who: str, why: str, when: str) -> str:
    """Add what an alert is about to a baseline as *approved*; returns what is silent from now on.

    Raises
    ------
    BaselineError
        It cannot be accepted; the message says why and what to do instead. Nothing is changed.
    """
    rows = _rows(alert)
    table = TABLES["accepted"]
    known = [*rows, *records(baseline.tables["accepted"])]
    merged = {tuple(row[key] for key in table.keys): row for row in known}
    baseline.tables["accepted"] = table.frame(list(merged.values()))
    what = _words(alert, rows)
    baseline.note(when, alert.id, "accepted", who, why, alert.rule, what)
    return what


def reject(baseline: Baseline, alert: Alert, who: str, why: str, when: str) -> int:
    """Record that an alert was right; an earlier acceptance of the same is taken back.

    Returns
    -------
    int
        Acceptances taken back.
    """
    table, frame = TABLES["accepted"], baseline.tables["accepted"]
    try:
        mine = {tuple(row[key] for key in table.keys) for row in _rows(alert)}
    except BaselineError:  # what cannot be accepted cannot have been
        mine = set()
    kept = [row for row in records(frame) if tuple(row[key] for key in table.keys) not in mine]
    baseline.tables["accepted"] = table.frame(kept)
    taken = len(frame) - len(kept)
    what = alert.summary + (f"; {taken} acceptances taken back" if taken else "")
    baseline.note(when, alert.id, "rejected", who, why, alert.rule, what)
    return taken


def _rows(alert: Alert) -> list[dict[str, Any]]:
    scope = alert.scope
    if alert.detector in STATISTICAL:
        raise BaselineError(
            f"{alert.id}: {alert.rule} is about an amount and no entry of a list; learn from a capture that "
            "holds it and join the two: gridwarden learn … and gridwarden baseline merge"
        )
    if not scope or len(scope.get("conv", ())) != len(NOWHERE):
        raise BaselineError(
            f"{alert.id}: written by a version that did not keep what an alert is about; run detect again"
        )
    if scope["group"] == SUMMED_UP:
        raise BaselineError(f"{alert.id}: sums up many findings; accept those that are told one by one")
    protocol, client, server, port, sub, vlan = scope["conv"]
    conv = _wide((protocol, client, server, int(port), sub, int(vlan)), bool(scope["pair"]))
    common = conv_fields(conv) | {
        "rule": alert.rule,
        "group": scope["group"],
        "observed": scope["observed"],
        "pair": int(scope["pair"]),
        "id": alert.id,
        "origin": Origin.APPROVED.value,
    }
    return [common | {"item": item} for item in scope.get("items") or [""]]


def _wide(conv: ConvKey, pair: bool) -> ConvKey:
    """Where an alert is about a pair of hosts, ports and units do not count: the items name them."""
    return (*conv[:3], 0, "", 0) if pair else conv


def _words(alert: Alert, rows: list[dict[str, Any]]) -> str:
    items = [row["item"] for row in rows if row["item"]]
    shown = ", ".join(items[:8]) + (f" and {len(items) - 8} more" if len(items) > 8 else "")
    first = rows[0]
    between = " to ".join(host for host in (first["client"], first["server"]) if host)
    about = " ".join(part for part in (alert.rule, first["protocol"], between, first["sub"]) if part)
    return about + (f": {shown}" if shown else f": {alert.observed}" if alert.observed else "")

"""Two baselines of the same site: what differs, and both as one.

Merging adds counts, moments and histograms, joins allow-lists, and keeps the most trusted origin of each
entry (engineered, approved, learned, proposed). What only one of them knows stays as it is. A merged
baseline has the knob and the model of the first, and the first one's description of an IED that both
describe.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import pandas as pd

from detectors.baseline import Baseline
from detectors.tables import ENGINEERED, TABLES, TRUST, Join, Table

MAX_CHAIN = 256
"""Most blocks that a joined cell keeps; the largest extremes of the older ones stay."""

DIFF_TABLES = ("assets", "conversations", "kinds", "points", "publishers", "review", "accepted", *ENGINEERED)
SUM_PARAMS = ("learned_s", "packets", "messages")


@dataclass(frozen=True, slots=True)
class Change:
    """One entry that only one baseline has, or that both have with another origin."""

    table: str
    change: str  # added, removed, origin, changed
    entry: dict[str, Any]
    note: str = ""


def diff(old: Baseline, new: Baseline) -> list[Change]:
    """What an engineer must look at when going from ``old`` to ``new``; counts and times are not it."""
    changes: list[Change] = []
    for name in DIFF_TABLES:
        keys = TABLES[name].keys
        before, after = _by_key(old.tables[name], keys), _by_key(new.tables[name], keys)
        changes += [Change(name, "removed", _entry(keys, key)) for key in before if key not in after]
        changes += [
            Change(name, "added", _entry(keys, key), after[key]) for key in after if key not in before
        ]
        changes += [
            Change(name, "origin", _entry(keys, key), f"{before[key]} to {after[key]}")
            for key in before
            if key in after and before[key] != after[key]
        ]
    for name in ENGINEERED:
        changes += _rewritten(name, old.tables[name], new.tables[name])
    return changes


def _rewritten(name: str, old: pd.DataFrame, new: pd.DataFrame) -> list[Change]:
    """Entries that are engineered otherwise than before: what changed from what to what."""
    keys = TABLES[name].keys
    before = {tuple(row[key] for key in keys): row for row in old.to_dict("records")}
    changes = []
    for row in new.to_dict("records"):
        key = tuple(row[key] for key in keys)
        known = before.get(key, row)
        notes = [
            f"{column} {known[column]} to {row[column]}"
            for column in TABLES[name].columns
            if column != "origin" and known[column] != row[column]
        ]
        if notes:
            changes.append(Change(name, "changed", _entry(keys, key), ", ".join(notes)))
    return changes


def _by_key(frame: pd.DataFrame, keys: list[str]) -> dict[tuple[Any, ...], str]:
    rows = frame[keys].itertuples(index=False, name=None)
    return dict(zip(rows, frame["origin"], strict=True))


def _entry(keys: list[str], key: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(keys, key, strict=True))


def merge(first: Baseline, second: Baseline) -> Baseline:
    """Both as one; neither is changed."""
    rest = _described_once(first, second)
    tables = {
        name: _merge(table, first.tables[name], rest.get(name, second.tables[name]))
        for name, table in TABLES.items()
    }
    params = dict(second.params) | dict(first.params)
    for name in SUM_PARAMS:
        params[name] = first.params.get(name, 0) + second.params.get(name, 0)
    params["max_idle_s"] = max(first.params.get("max_idle_s", 0.0), second.params.get("max_idle_s", 0.0))
    params["notes"] = sorted({*first.params.get("notes", []), *second.params.get("notes", [])})
    described = {str(source.get("file")) for source in first.params.get("scl", [])}
    scl = [source for source in second.params.get("scl", []) if str(source.get("file")) not in described]
    if scl or described:
        params["scl"] = [*first.params.get("scl", []), *scl]
    sources = [*first.created_from, *(s for s in second.created_from if s not in first.created_from)]
    return Baseline(tables, params, sources, first.tool)


def _described_once(first: Baseline, second: Baseline) -> dict[str, pd.DataFrame]:
    """The engineered rows of ``second`` about IEDs that ``first`` does not describe."""
    devices = first.tables["devices"]
    mine = {*first.tables["control_blocks"]["ied"], *devices["ied"][devices["server"] == 1]}
    kept = {}
    for name in ENGINEERED:
        table = second.tables[name]
        owner = "server_ied" if name == "associations" else "ied"
        kept[name] = table[~table[owner].isin(mine)]
    return kept


def _merge(table: Table, first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    merged: dict[tuple[Any, ...], dict[str, Any]] = {}
    for frame in (first, second):
        for record in frame.to_dict("records"):
            key = tuple(record[column] for column in table.keys)
            known = merged.get(key)
            row = {str(column): value for column, value in record.items()}
            merged[key] = row if known is None else _join(table, known, row)
    return table.frame(list(merged.values()))


def _join(table: Table, one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return {column: _cell(how, one[column], other[column]) for column, (_, how) in table.columns.items()}


def _cell(how: Join, one: Any, other: Any) -> Any:
    if how is Join.SUM:
        return one + other
    if how is Join.MIN:
        return min(one, other)
    if how is Join.MAX:
        return max(one, other)
    if how is Join.ORIGIN:
        return min(one, other, key=lambda origin: TRUST.get(origin, len(TRUST)))
    if how is Join.CHAIN:
        return ";".join([part for part in f"{one};{other}".split(";") if part][-MAX_CHAIN:])
    if how is Join.HISTOGRAM:
        return histogram_text(text_histogram(one) + text_histogram(other))
    return one if how is Join.KEY or one != "" else other


def text_histogram(text: str) -> Counter[int]:
    """Counts by bin of a histogram cell."""
    pairs = (part.split(":") for part in text.split())
    return Counter({int(number): int(count) for number, count in pairs})


def histogram_text(counts: Counter[int]) -> str:
    """Cell of counts by bin, bins ascending."""
    return " ".join(f"{number}:{counts[number]}" for number in sorted(counts) if counts[number])

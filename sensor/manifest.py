"""Manifest of a collection of captures: which to learn from, which to test on.

A CSV file with at least the columns ``scenario,role,file``; ``role`` is ``train``, ``normal-test``
(free of attacks) or ``test``; rows of other roles or without a scenario are left out, so that one
manifest may also list captures for other work. Paths are relative to the manifest. The labels of a
capture ``X.pcap`` are ``X.labels.csv`` beside it.

It refuses a missing column, an unknown scenario, and a file that is not there; the message names the line.
"""

from __future__ import annotations

import csv
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sensor.errors import LabelsError

TRAIN: Final = "train"
TESTS: Final = ("normal-test", "test")
REQUIRED: Final = ("scenario", "role", "file")


@dataclass(slots=True)
class Scenario:
    """One site: captures to learn from, captures to test on."""

    name: str
    train: list[Path] = field(default_factory=list)
    tests: list[Path] = field(default_factory=list)


def labels_of(capture: Path) -> Path:
    """Where the labels of a capture are."""
    return capture.with_suffix(".labels.csv")


def read_manifest(path: str | Path, wanted: Collection[str] = ()) -> list[Scenario]:
    """Scenarios of a manifest that can be evaluated, in its order.

    Parameters
    ----------
    path : str or Path
    wanted : collection of str
        Names of scenarios; none for all that have captures to learn from.

    Raises
    ------
    LabelsError
        The manifest cannot be used.
    """
    path = Path(path)
    scenarios: dict[str, Scenario] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            missing = [name for name in REQUIRED if name not in (reader.fieldnames or ())]
            if missing:
                raise LabelsError(
                    f"{path}: line 1: no column {', '.join(missing)}. "
                    f"A manifest has at least the columns {','.join(REQUIRED)}"
                )
            for row in reader:
                _take(path, reader.line_num, row, scenarios)
    except OSError as error:
        raise LabelsError(
            f"{path}: cannot be read: {error.strerror}. Check the path and its rights"
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise LabelsError(f"{path}: is not a CSV table in UTF-8 ({error})") from error
    return _chosen(path, scenarios, wanted)


def _take(path: Path, line: int, row: dict[str, str | None], scenarios: dict[str, Scenario]) -> None:
    name, role, file = ((row[column] or "").strip() for column in REQUIRED)
    if not name or role not in (TRAIN, *TESTS):
        return
    capture = path.parent / file
    if not file or not capture.is_file():
        raise LabelsError(f"{path}: line {line}: column file: {file!r} is not there. Correct the path")
    scenario = scenarios.setdefault(name, Scenario(name))
    (scenario.train if role == TRAIN else scenario.tests).append(capture)


def _chosen(path: Path, scenarios: dict[str, Scenario], wanted: Collection[str]) -> list[Scenario]:
    unknown = [name for name in wanted if name not in scenarios]
    if unknown:
        known = ", ".join(scenarios) or "none"
        raise LabelsError(f"{path}: no scenario {', '.join(unknown)}; it has {known}")
    if wanted:
        return [scenarios[name] for name in scenarios if name in wanted]
    return [scenario for scenario in scenarios.values() if scenario.train and scenario.tests]

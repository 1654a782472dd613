"""Writes docs/explain_examples.md from a store that ``gridwarden demo`` made: the command, really run.

``gridwarden demo --out FOLDER && python docs/explain_examples.py FOLDER/station.db``
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from detectors.base import Alert
from detectors.explain.catalogue import LANGUAGES, load_catalogue
from sensor.store.sqlite import Store

ROOT: Final = Path(__file__).resolve().parent.parent
TARGET: Final = Path(__file__).with_name("explain_examples.md")
CAPTURE: Final = "sensor/data/demo/bad_day.pcap.gz"
WITH_FRAMES: Final = ("command", "goose", "master", "injection")
"""Families whose example shows a frame; in the others it would only be longer."""
LEVELS: Final = ("info", "notice", "warning", "alarm")
HEAD: Final = """# Explanations, one per family

Written by `python docs/explain_examples.py STORE`: the output of `gridwarden explain` on the loudest alert
of each family that the bundled captures (`gridwarden demo`) give, in English and in Chinese. What a detector
said when it saw it (its words, expected, observed) is stored in English and quoted as it is.
"""


def examples(alerts: list[Alert]) -> dict[str, Alert]:
    """The loudest alert of each family, the earliest among equals, in the order of the catalogue."""
    catalogue = load_catalogue()
    chosen: dict[str, Alert] = {}
    for alert in sorted(alerts, key=lambda one: (-LEVELS.index(one.level), one.start, one.id)):
        chosen.setdefault(catalogue.entry(alert.rule).family, alert)
    order = list(dict.fromkeys(entry.family for entry in catalogue.entries.values()))
    return dict(sorted(chosen.items(), key=lambda item: order.index(item[0])))


def explained(store: Path, alert: Alert, language: str, frames: int) -> str:
    """What the command prints, without trailing blanks."""
    options = ["--store", str(store.absolute()), "--lang", language, "--frames", str(frames)]
    if frames:
        options += ["--capture", CAPTURE]
    done = subprocess.run(
        [sys.executable, "-m", "sensor", "explain", alert.id, *options],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "100", "PYTHONPATH": str(ROOT)},
    )
    return "\n".join(line.rstrip() for line in done.stdout.splitlines())


def main() -> None:
    """Write the page."""
    path = Path(sys.argv[1])
    with Store.look(path) as store:
        alerts = store.alerts()
    parts = [HEAD]
    for family, alert in examples(alerts).items():
        parts.append(f"## {family.capitalize()}: `{alert.rule}`\n")
        frames = int(family in WITH_FRAMES)
        texts = (explained(path, alert, language, frames) for language in LANGUAGES)
        parts += [f"```text\n{text}\n```\n" for text in texts]
    TARGET.write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()

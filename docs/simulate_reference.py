"""Writes the list of attacks in docs/simulate.md from the registry; ``--check`` only compares."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sensor.simulate.registry import FAMILIES, attacks

TARGET = Path(__file__).with_name("simulate.md")
BEGIN, END = "<!-- attacks: generated -->\n", "<!-- end of attacks -->\n"


def listing() -> str:
    """All attacks as tables, one per family."""
    parts = []
    for family, words in FAMILIES.items():
        rows = [
            f"| `{one.id}` | {one.technique} | {one.sentence} | {one.needs} |\n"
            for one in attacks().values()
            if one.family == family
        ]
        head = "| attack | technique | what it does | needs |\n|---|---|---|---|\n"
        parts.append(f"### {words.capitalize()}\n\n{head}{''.join(rows)}\n")
    return "".join(parts)


def fresh() -> str:
    """The page with the list as it should be."""
    page = TARGET.read_text(encoding="utf-8")
    begin, end = page.index(BEGIN) + len(BEGIN), page.index(END)
    return page[:begin] + "\n" + listing() + page[end:]


def main() -> int:
    """Write the page, or with --check compare it."""
    if "--check" not in sys.argv:
        TARGET.write_text(fresh(), encoding="utf-8")
        return 0
    if TARGET.read_text(encoding="utf-8") == fresh():
        return 0
    sys.stderr.write("docs/simulate.md is out of date: run python docs/simulate_reference.py\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())

"""Writes docs/coverage.md: which simulated attacks the bundled station's baseline catches, and why not all.

``gridwarden learn sensor/data/demo/quiet_hour.pcap.gz -o station.baseline --approve-commands``,
``gridwarden coverage -b station.baseline sensor/data/demo/quiet_test.pcap.gz --json > coverage.json``,
``python docs/coverage_matrix.py coverage.json``. A miss without a reason here ends it, and so does a reason
of what was found.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

TARGET: Final = Path(__file__).with_name("coverage.md")
REASONS: Final = {
    "modbus-slow-write": "A write that was approved, from the host that gives it, to the register that it "
    "sets, with a value within the limits. Nothing in the traffic differs; whether somebody ordered it, the "
    "control room knows.",
    "modbus-write-master": "Until learning ended, this master kept writing what it had not written "
    "before, so one more register is expected of it: told at info (`new-command-point`), at notice after "
    "half an hour without such news ([a short learning](detection.md#after-a-short-learning)).",
    "iec104-replay-command": "An approved command, from the host that gives it, with numbers that fit: the "
    "station could not tell it from the true one either. That it comes once more is no evidence; "
    "`rhythm-hour`, which knows the hours of commands, needs two days of learning. A replay of a command "
    "with a time tag (types 58 to 64) carries its age and is told (`iec104-command-old`); this one has none.",
    "iec104-delay": "Delays of 1 to 6 s break no limit of the standard (t1 = 15 s) and are told at info "
    "(`iec104-late-ack`, over t2). In an hour the station gives fewer than 30 answers of a kind, too few for "
    "their time to be judged; its cyclic reports, 9 to 11 s apart while learning, stay within the limits of "
    "timing, which are wide after an hour. The answers to polls are judged, see `modbus-delay`.",
}
HEAD: Final = """# Coverage of the bundled station

Written by `docs/coverage_matrix.py` from the output of `gridwarden coverage` on the bundled captures: one
quiet hour learned, commands approved, default settings; each attack rendered alone into the {minutes:.0f}
minutes of `quiet_test`. **Simulated attacks in made-up traffic**, by the hands that wrote the rules: this
shows what can be seen and what not, and is no estimate of a site. Yours:
`gridwarden coverage -b SITE.baseline CAP`.

Found: **{detected} of {attacks}** at level notice or louder. Without any attack the capture raises {benign}
incident(s), whose alerts do not count.
"""


def table(rows: list[dict[str, Any]]) -> list[str]:
    """What was found, in lines of Markdown."""
    lines = ["| attack | technique | first rule | level | reading | delay |", "|---|---|---|---|---|---|"]
    for row in rows:
        delay = "-" if row["delay_s"] is None else f"{row['delay_s']:.1f} s"
        cells = (row["technique"], f"`{row['rule']}`", row["level"], row["reading"], delay)
        lines.append(f"| `{row['attack']}` | {' | '.join(cells)} |")
    return lines


def page(record: dict[str, Any]) -> str:
    """The whole page; raises SystemExit when the reasons do not fit the misses."""
    rows = sorted(record["rows"], key=lambda row: (row["protocol"], row["attack"]))
    found, missed = [row for row in rows if row["detected"]], [row for row in rows if not row["detected"]]
    names = {row["attack"] for row in missed}
    if names != REASONS.keys():
        odd = ", ".join(sorted(names ^ REASONS.keys()))
        raise SystemExit(f"reasons in {Path(__file__).name} do not fit what was missed: {odd}")
    head = HEAD.format(minutes=record["hours"] * 60, benign=record["benign_incidents"], **_counts(record))
    lines = [head, "## Missed\n", "| attack | technique | why |", "|---|---|---|"]
    lines += [f"| `{row['attack']}` | {row['technique']} | {REASONS[row['attack']]} |" for row in missed]
    lines += ["", "## Found\n", *table(found), "", "## By technique\n", "| technique | attacks | found |"]
    lines += ["|---|---|---|"]
    lines += [
        f"| {key} | {one['attacks']} | {one['detected']} |" for key, one in record["techniques"].items()
    ]
    protocols = sorted({name.partition("-")[0] for name in record["skipped"]})
    missing = f"{len(record['skipped'])} attacks on {', '.join(protocols)}"
    lines += ["", f"Not offered by this capture: {missing}.", ""]
    return "\n".join(lines)


def _counts(record: dict[str, Any]) -> dict[str, int]:
    return {key: int(record[key]) for key in ("attacks", "detected")}


def main() -> int:
    """Write the page from the file that is named."""
    if len(sys.argv) != 2:
        raise SystemExit(f"usage: {sys.argv[0]} COVERAGE.json")
    TARGET.write_text(page(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""``gridwarden demo``: the whole path on the bundled captures, in one command."""

from __future__ import annotations

import shutil
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from sensor.cli import options
from sensor.cli.common import Command, err, out
from sensor.errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detectors.baseline import Baseline
    from sensor.evaluate import Evaluation
    from sensor.result import Result

DATA: Final = Path(__file__).parent.parent / "data" / "demo"
LEARN, TEST, DETECT = "quiet_hour.pcap.gz", "quiet_test.pcap.gz", "bad_day.pcap.gz"
LABELS: Final = "bad_day.labels.csv"
APPROVER: Final = "gridwarden demo"
STEPS: Final = 5
HEADLINES: Final = 12
LONGEST: Final = 110


@click.command("demo", cls=Command)
@click.option(
    "--out",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("demo-out"),
    show_default=True,
    help="Folder for baseline, store and report; made when it is missing.",
)
def command(folder: Path) -> None:
    """Learn, detect and report on the bundled captures.

    A small station was recorded in a lab: an hour of normal operation to learn from, and an hour with
    faults, switching and attacks on IEC 60870-5-104, Modbus/TCP and GOOSE. Ends with a report to open
    in a browser, and with the figures of how much of what happened was found.

    \b
    Examples:
      gridwarden demo
      gridwarden demo --out /tmp/first-look
    """
    _check_data()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {folder}: cannot be made: {error.strerror}. Name another folder") from error
    engine = "auto" if shutil.which("tshark") else "native"
    if engine == "native":
        err.print("tshark is missing: only Modbus, IEC 60870-5-104 and GOOSE are read", style="yellow")

    if _first_run():
        err.print("first run: the decoders are compiled now, once; it takes a minute or two", style="yellow")
    baseline = _learn(folder / "station.baseline", engine)
    false_quiet = _quiet(baseline, engine)
    result = _detect(baseline, engine)
    with _step(4, "store and report"):
        _write(result, folder)
    with _step(5, "compare with what really happened"):
        evaluation = _evaluate(result)
    _conclude(result, evaluation, false_quiet)
    _tell_places(folder)


def _first_run() -> bool:
    """Whether no compiled decoder is kept from an earlier run."""
    from sensor.jit import compiled_before

    return not compiled_before()


def _check_data() -> None:
    missing = [name for name in (LEARN, TEST, DETECT, LABELS) if not (DATA / name).is_file()]
    if missing:
        raise InputError(
            f"{DATA}: the bundled captures are not there ({', '.join(missing)}). Install gridwarden again, "
            "or record them anew as docs/lab.md describes"
        )


@contextmanager
def _step(number: int, what: str) -> Iterator[None]:
    """Say what is being done, and how long it took."""
    began = time.monotonic()
    yield
    took = time.monotonic() - began
    out.print(f"[bold]\\[{number}/{STEPS}][/] {what} [dim]({took:.1f} s)[/]", highlight=False)


def _learn(path: Path, engine: str) -> Baseline:
    """Learn the quiet hour; the recording's own commands are approved as an engineer would."""
    from sensor.pipeline import learn

    with _step(1, f"learn what is normal from {LEARN}"):
        with options.opened((str(DATA / LEARN),), engine, (), "Learning") as decoded:
            baseline = learn(decoded, decoded.names)
        baseline.created_from = [{"captures": [LEARN], "packets": int(baseline.params["packets"])}]
        pending = len(baseline.pending())
        now = datetime.now(UTC).isoformat(timespec="seconds")
        baseline.approve(None, APPROVER, "routine of the recorded lab station", now)
        baseline.save(path)
    messages, conversations = baseline.params["messages"], len(baseline.tables["conversations"])
    out.print(
        f"      {messages:,} messages, {conversations} conversations; "
        f"{pending} kinds of dangerous command were met, listed and approved in your name",
        highlight=False,
        soft_wrap=True,
    )
    return baseline


def _run(capture: str, baseline: Baseline, engine: str, title: str) -> Result:
    from sensor.run import run_detect

    names = (str(DATA / capture),)
    with options.opened(names, engine, (), title) as decoded:
        return run_detect(decoded, baseline, names, "station.baseline")


def _quiet(baseline: Baseline, engine: str) -> int:
    """False incidents, from notice up, on traffic in which nothing is wrong."""
    from sensor.evaluate import evaluate

    with _step(2, f"hold another quiet stretch against it, {TEST}"):
        result = _run(TEST, baseline, engine, "Checking")
    false = evaluate(result, []).false_incidents
    out.print(f"      false incidents: {false} in {result.span / 60:.0f} minutes", highlight=False)
    return false


def _detect(baseline: Baseline, engine: str) -> Result:
    with _step(3, f"detect in {DETECT}"):
        result = _run(DETECT, baseline, engine, "Detecting")
    rate = result.packets / result.duration if result.duration else 0.0
    out.print(
        f"      {result.packets:,} packets, {result.messages:,} messages, {result.span / 60:.0f} minutes "
        f"at {rate:,.0f} packets/s",
        highlight=False,
        soft_wrap=True,
    )
    return result


def _write(result: Result, folder: Path) -> None:
    from sensor.report.html import write_report
    from sensor.store.sqlite import Store

    write_report(folder / "report.html", result)
    with Store.open(folder / "station.db") as store:
        store.write(result)


def _evaluate(result: Result) -> Evaluation:
    from sensor.evaluate import evaluate
    from sensor.labels import read_labels

    return evaluate(result, read_labels(DATA / LABELS))


def _conclude(result: Result, evaluation: Evaluation, false_quiet: int) -> None:
    out.print()
    _headlines(result)
    out.print()
    delay = evaluation.median_delay_s
    after = f", half of them within {max(delay, 0.1):.1f} s" if delay is not None else ""
    called = evaluation.disturbances_called_attack
    out.print(
        f"[bold]{evaluation.detected} of {evaluation.events} attacks found[/]{after}; {called} of "
        f"{evaluation.disturbances} faults called an attack; false incidents: "
        f"{evaluation.false_incidents} in {evaluation.hours:.1f} h, {false_quiet} in the quiet stretch",
        highlight=False,
        soft_wrap=True,
    )


def _headlines(result: Result) -> None:
    """The loudest alerts, one line each, in order of time."""
    from rich.text import Text

    loud = [alert for alert in result.alerts if alert.level == "alarm"]
    for alert in loud[:HEADLINES]:
        when = datetime.fromtimestamp(alert.start, UTC).strftime("%H:%M:%S")
        shown = alert.summary if len(alert.summary) <= LONGEST else alert.summary[: LONGEST - 1] + "…"
        line = Text.assemble((f"{when} {alert.level:7} ", "bold red"), (f"{alert.reading:9} ", "bold"), shown)
        out.print(line, soft_wrap=True)
    if len(loud) > HEADLINES:
        out.print(f"… and {len(loud) - HEADLINES} more alarms", style="dim")
    rest = len(result.alerts) - len(loud)
    out.print(f"Beside them {rest} warnings and notices, {len(result.incidents)} incidents in all.")


def _tell_places(folder: Path) -> None:
    """Where everything is, and what to try next."""
    out.print()
    for name, what in (
        ("report.html", "open it in a browser"),
        ("station.baseline", "a zip archive of plain tables; gridwarden baseline show reads it"),
        ("station.db", "SQLite: alerts, incidents, assets, series"),
    ):
        out.print(f"  {folder / name}  [dim]{what}[/]", highlight=False, soft_wrap=True)
    out.print("\nNext, with the same captures:")
    out.print(f"  gridwarden inspect {DATA / DETECT}", highlight=False, soft_wrap=True)
    line = f"  gridwarden detect {DATA / DETECT} -b {folder / 'station.baseline'} --json"
    out.print(line, highlight=False, soft_wrap=True)

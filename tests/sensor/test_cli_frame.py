"""The frame of the command line: lazy, quick, and every error with its message and exit code."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from sensor import __version__, cli
from sensor.cli import COMMANDS, common, main
from sensor.errors import CaptureError, MissingToolError, UsageError

HEAVY = ("numpy", "numba", "pandas", "pyod", "pyshark", "scipy", "pyarrow", "sklearn")


def run(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own."""
    command = [sys.executable, "-m", "sensor", *args]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | env)


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """Replaces one command by one that raises what the test puts into the list."""
    errors: list[BaseException] = []

    @click.command(cls=common.Command)
    def command() -> None:
        raise errors[0]

    monkeypatch.setattr(cli.LazyGroup, "get_command", lambda *_: command)
    return errors


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["completion", "bash"], ["nonsense"]])
def test_overview_loads_nothing_heavy(args: list[str]) -> None:
    code = (
        "import sys\nfrom sensor.cli import main\n"
        f"try:\n    main({args!r})\nexcept SystemExit:\n    pass\n"
        f"sys.stderr.write(repr([m for m in {HEAVY!r} if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.endswith("[]")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str) -> None:
    result = CliRunner().invoke(main, [name, "--help"], prog_name="gridwarden")
    assert result.exit_code == 0, result.output
    assert "Example" in result.output
    assert f"gridwarden {name}" in result.output.split("Example", 1)[1]


def test_version() -> None:
    result = CliRunner().invoke(main, ["--version"])
    assert result.output == f"gridwarden {__version__}\n"


def test_unknown_command_and_option_are_usage_errors() -> None:
    assert CliRunner().invoke(main, ["nonsense"]).exit_code == 2
    assert CliRunner().invoke(main, ["doctor", "--nonsense"]).exit_code == 2


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (CaptureError("a.pcap", 7, "it is broken", "Mend it"), 3, "a.pcap: at byte 7: it is broken. Mend it"),
        (UsageError("that makes no sense"), 2, "that makes no sense"),
        (MissingToolError("no tshark"), 4, "no tshark"),
        (FileNotFoundError(2, "No such file or directory", "x.csv"), 3, "x.csv: No such file"),
        (OSError(28, "No space left on device"), 4, "No space left"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (BrokenPipeError(), 0, ""),
    ],
)
def test_known_errors_are_one_line_with_their_code(
    broken: list[BaseException], error: BaseException, code: int, words: str
) -> None:
    broken.append(error)
    result = CliRunner().invoke(main, ["demo"])
    assert result.exit_code == code
    assert words in result.output
    assert "Traceback" not in result.output
    assert len(result.output.splitlines()) <= 1


def test_errors_of_the_lower_packages_are_input_errors(broken: list[BaseException]) -> None:
    from detectors.baseline import BaselineError
    from grid_profiles.schema import ProfileError

    for kind in (BaselineError, ProfileError):
        error = kind.__new__(kind)
        Exception.__init__(error, "what, where, what to do")
        broken[:] = [error]
        assert CliRunner().invoke(main, ["demo"]).exit_code == 3


def test_our_own_mistakes_say_so_and_show_a_traceback_only_on_request(
    broken: list[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRIDWARDEN_DEBUG", "0")
    broken.append(ZeroDivisionError("by zero"))
    result = CliRunner().invoke(main, ["demo"])
    assert result.exit_code == 70
    assert "internal error: ZeroDivisionError: by zero" in result.output
    assert "GRIDWARDEN_DEBUG=1" in result.output
    assert "Traceback" not in result.output
    monkeypatch.setenv("GRIDWARDEN_DEBUG", "1")
    assert "Traceback" in CliRunner().invoke(main, ["demo"]).output


def test_a_reader_that_leaves_is_no_error() -> None:
    script = f"{sys.executable} -m sensor completion bash | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_interrupt_ends_with_130() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "sensor", "inspect", "-"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a shell starts its background jobs deaf to SIGINT, and this test may be part of one
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdin is not None
    assert process.stderr is not None
    with process:
        for _ in range(600):  # until it waits for standard input
            if process.poll() is not None or _has_spool_open(process.pid):
                break
            signal.sigtimedwait([], 0.1)
        process.send_signal(signal.SIGINT)
        message = process.stderr.read()
    assert (process.returncode, message) == (130, "gridwarden: interrupted\n")


def _has_spool_open(pid: int) -> bool:
    """Whether a process holds the temporary file that standard input is copied to."""
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since it was listed
            if str(fd.readlink()).endswith(".capture"):
                return True
    return False


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script_and_install(shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    script = CliRunner().invoke(main, ["completion", shell]).output
    assert "_GRIDWARDEN_COMPLETE" in script
    result = CliRunner().invoke(main, ["completion", shell, "--install"])
    assert result.exit_code == 0
    (written,) = [path for path in tmp_path.rglob("*gridwarden*") if path.is_file()]
    assert written.read_text() == script


def test_completion_answers() -> None:
    env = {"_GRIDWARDEN_COMPLETE": "bash_complete", "COMP_WORDS": "gridwarden do", "COMP_CWORD": "1"}
    code = "from sensor.cli import main; main(prog_name='gridwarden')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ | env
    )
    assert "doctor" in done.stdout


def test_doctor_tells_what_to_do(tmp_path: Path) -> None:
    store = tmp_path / "site.db"
    result = CliRunner().invoke(main, ["doctor", "--json", "--store", str(store)])
    record = json.loads(result.output)
    assert {check["name"] for check in record["checks"]} >= {"tshark", "clock", "disk", "store", "kernels"}
    assert all(check["remedy"] for check in record["checks"] if check["state"] != "ok")
    assert result.exit_code == (0 if record["ok"] else 1)
    assert not store.exists()


def test_doctor_fails_on_a_store_that_cannot_be(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["doctor", "--store", str(tmp_path / "no" / "site.db")])
    assert result.exit_code == 1
    assert "mkdir -p" in result.output
    broken = tmp_path / "x.db"
    broken.write_bytes(b"SQLite format 3\0" + bytes(200))
    result = CliRunner().invoke(main, ["doctor", "--json", "--store", str(broken)])
    checks = {check["name"]: check for check in json.loads(result.output)["checks"]}
    assert checks["store"]["state"] == "fail"


def test_doctor_says_what_works_without_tshark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = CliRunner().invoke(main, ["doctor", "--json", "--store", str(tmp_path / "x.db")])
    checks = {check["name"]: check for check in json.loads(result.output)["checks"]}
    assert checks["tshark"]["state"] == "warn"
    assert "apt-get install tshark" in checks["tshark"]["remedy"]

"""Rules of the house, checked on the source: who may import whom, and what no package may do."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("sensor", "detectors", "grid_profiles")
MAY_IMPORT = {
    "grid_profiles": {"grid_profiles"},
    "detectors": {"detectors", "grid_profiles"},
    "sensor": {"sensor", "detectors", "grid_profiles"},
}
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}


def imports(path: Path) -> Iterator[str]:
    """Names of the modules that a file imports, at any depth."""
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def importers(module: str) -> set[str]:
    """Files that import a module or a part of it."""
    return {
        str(path.relative_to(ROOT))
        for path in SOURCES
        if any(name == module or name.startswith(module + ".") for name in imports(path))
    }


def show(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=show)
def test_imports_run_one_way(path: Path) -> None:
    owner = path.relative_to(ROOT).parts[0]
    ours = {name.split(".")[0] for name in imports(path)} & set(PACKAGES)
    assert ours <= MAY_IMPORT[owner], f"imports run sensor -> detectors -> grid_profiles, never back: {ours}"


@pytest.mark.parametrize("module", ["pyshark", "pyod"])
def test_heavy_neighbours_have_one_door(module: str) -> None:
    assert len(importers(module)) <= 1, f"{module} may be imported by one module only: {importers(module)}"


def test_nothing_is_pickled() -> None:
    for module in ("pickle", "joblib", "shelve", "dill", "cloudpickle", "marshal"):
        assert importers(module) == set(), f"a baseline is data, not code: {module}"
    # the same by the back door
    for path in SOURCES:
        assert "allow_pickle=True" not in path.read_text(encoding="utf-8"), show(path)


def test_compiler_flags_live_in_one_module() -> None:
    # load.py makes instructions that numba has not, precompile.py names types; neither sets a flag
    assert importers("numba") <= {"sensor/jit.py", "sensor/wire/load.py", "sensor/precompile.py"}


def test_network_sinks_are_not_opened_by_accident() -> None:
    """Passive: the capture opens a socket that cannot send; only sinks, when configured, talk to anybody."""
    assert importers("socket") == {
        "sensor/capture/ring.py",
        "sensor/daemon/notify.py",
        "sensor/sinks/syslog.py",
    }
    manager = (ROOT / "sensor" / "daemon" / "notify.py").read_text(encoding="utf-8")
    assert set(re.findall(r"socket\.AF_\w+", manager)) == {"socket.AF_UNIX"}, "systemd's, not the network's"
    assert importers("scapy") == set()
    for module in ("urllib3", "paho", "influxdb_client", "http", "ssl", "asyncio", "requests", "aiohttp"):
        assert all(path.startswith("sensor/sinks/") for path in importers(module)), module


def test_what_reads_frames_knows_no_sink() -> None:
    users = {path for path in importers("sensor.sinks") if not path.startswith("sensor/sinks/")}
    for package in ("capture", "wire", "track", "features", "store"):
        assert not any(path.startswith(f"sensor/{package}/") for path in users)


SENDING = {
    "send",
    "sendto",
    "sendall",
    "sendmsg",
    "sendmmsg",
    "sendfile",
    "send_fds",
    "sendmsg_afalg",
    "connect",
}


def test_nothing_can_be_sent_on_the_capture_socket() -> None:
    tree = TREES[ROOT / "sensor" / "capture" / "ring.py"]
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not used & SENDING
    # writing to the descriptor, handing the socket to another module, and the kernel's transmit ring
    assert not used & {"write", "makefile", "detach", "dup", "fdopen", "CDLL"}
    for path in SOURCES:
        words = path.read_text(encoding="utf-8")
        for name in ("PACKET_TX_RING", "pcap_inject", "pcap_sendpacket", "pcap_sendqueue"):
            assert name not in words, show(path)


@pytest.mark.parametrize("path", SOURCES, ids=show)
def test_packages_do_not_print_or_evaluate(path: Path) -> None:
    calls = {
        node.func.id
        for node in ast.walk(TREES[path])
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not calls & {"print", "eval", "exec"}


@pytest.mark.parametrize("path", SOURCES, ids=show)
def test_modules_say_what_they_are(path: Path) -> None:
    assert ast.get_docstring(TREES[path]), "a module docstring first"
    assert path.read_text(encoding="utf-8").count("\n") <= 600, "split it"


@pytest.mark.parametrize("path", SOURCES, ids=show)
def test_every_import_from_the_future(path: Path) -> None:
    if path.name != "__init__.py" and any(isinstance(node, ast.FunctionDef) for node in TREES[path].body):
        assert "__future__" in set(imports(path)), "from __future__ import annotations"


def test_nothing_catches_everything_silently() -> None:
    for path in SOURCES:
        for node in ast.walk(TREES[path]):
            if isinstance(node, ast.ExceptHandler):
                assert node.type is not None, f"{show(path)}:{node.lineno}: bare except"
                swallow = len(node.body) == 1 and isinstance(node.body[0], ast.Pass)
                name = node.type.id if isinstance(node.type, ast.Name) else ""
                broad = name in ("Exception", "BaseException")
                assert not (swallow and broad), f"{show(path)}:{node.lineno}: a swallowed error"


def test_command_reference_is_up_to_date() -> None:
    script = [sys.executable, str(ROOT / "docs" / "cli_reference.py"), "--check"]
    done = subprocess.run(
        script,
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr


def test_every_command_is_in_the_readme() -> None:
    from sensor.cli import COMMANDS

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in COMMANDS:
        assert f"gridwarden {name}" in readme, f"README.md does not mention gridwarden {name}"


def test_links_inside_the_documentation_lead_somewhere() -> None:
    import re

    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"

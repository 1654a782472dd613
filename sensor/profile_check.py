"""Does this machine's tshark know what a profile asks of it? Fields, nodes, filter, preferences.

Calls tshark with an empty capture on standard input, never with traffic. Refuses nothing itself: it
returns the problems as sentences.
"""

from __future__ import annotations

import difflib
import shutil
import struct
import subprocess
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from grid_profiles.schema import Profile, TsharkMap

EMPTY_CAPTURE: Final = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
TIMEOUT_S: Final = 60
GENERIC: Final = frozenset({"_ws.malformed", "_ws.expert", "frame", "eth", "ip", "ipv6", "tcp", "udp"})


def tshark_path() -> str:
    """Where tshark is; "" when it is not installed."""
    return shutil.which("tshark") or ""


def problems(profile: Profile) -> list[str]:
    """What this machine's tshark does not know of a profile, one sentence each.

    Raises
    ------
    OSError
        When tshark cannot be run.
    """
    if profile.tshark is None:
        return []
    return unknown_names(profile.tshark) + _refusals(profile.tshark)


def unknown_names(tshark: TsharkMap) -> list[str]:
    """Fields and nodes that do not exist, each with the nearest name that does."""
    known = names()
    asked = dict.fromkeys((*tshark.pdu, *tshark.nodes, *tshark.fields))
    return [_unknown(name, known) for name in asked if name not in known and name not in GENERIC]


def _unknown(name: str, known: frozenset[str]) -> str:
    root = name.partition(".")[0] + "."
    near = difflib.get_close_matches(name, [k for k in known if k.startswith(root)], 1, 0.7)
    hint = f"did you mean {near[0]}?" if near else f"list the names with: tshark -G fields | grep {root[:-1]}"
    return f"tshark knows no field or protocol {name}; {hint}"


@lru_cache(maxsize=1)
def names() -> frozenset[str]:
    """Every protocol and field name that tshark knows, from one call of ``tshark -G fields``."""
    rows = (
        line.split("\t", 3) for line in _run(["-G", "fields"]).stdout.decode("utf-8", "replace").splitlines()
    )
    return frozenset(row[2] for row in rows if len(row) > 2 and row[0] in ("F", "P"))


def arguments(tshark: TsharkMap) -> list[str]:
    """Options that make tshark dissect as the profile wants, without the filter."""
    options: list[str] = []
    for name, value in tshark.preferences.items():
        options += ["-o", f"{name}:{value}"]
    for rule in tshark.decode_as:
        options += ["-d", rule]
    for heuristic in tshark.heuristics:
        options += ["--enable-heuristic", heuristic]
    return options


def _refusals(tshark: TsharkMap) -> list[str]:
    """What tshark says to the filter, preferences, decode-as rules and heuristics of a profile."""
    done = _run(["-n", "-r", "-", "-Y", tshark.filter, *arguments(tshark)], EMPTY_CAPTURE)
    if done.returncode == 0:
        return []
    said = [line.strip() for line in done.stderr.decode("utf-8", "replace").splitlines()]
    said = [line for line in said if line and "dangerous" not in line and set(line) - {"^", "~", " "}]
    return ["tshark refuses the filter or an option: " + " ".join(said)[:400]]


def _run(options: Sequence[str], stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [tshark_path() or "tshark", *options],
        input=stdin,
        capture_output=True,
        check=False,
        timeout=TIMEOUT_S,
    )

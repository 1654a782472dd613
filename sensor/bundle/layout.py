"""What a bundle is on disk.

::

    evidence/
      20260309T090302Z-3f2a77b01c9d/    time of its first alert, id of that alert
        slice.pcapng                    the frames around it
        alerts.jsonl                    one line per alert, as `gridwarden detect --json` writes it
        dissection.txt                  the deciding frames as tshark shows them, or why not
        manifest.json                   what it is, how it came about, SHA-256 of every member
        manifest.sig                    Ed25519 signature of manifest.json, if signing is on
      baselines/<sha256>.baseline       each baseline that a bundle speaks of, once
      state.json                        the newest bundle, and what was given up

A name is made of a time and a digest, never of what a packet says.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sensor.errors import InputError

FORMAT: Final = 1
SLICE, ALERTS, DISSECTION = "slice.pcapng", "alerts.jsonl", "dissection.txt"
MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
MEMBERS: Final = (SLICE, ALERTS, DISSECTION)
BASELINES: Final = "baselines"
STATE: Final = "state.json"
NAME: Final = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{12}(-\d{1,3})?")
PARTIAL: Final = ".partial-"
"""Beginning of the name of a bundle that is being written; what a killed process left is removed."""

PARTS: Final[dict[str, type]] = {
    "alerts": list,
    "baseline": dict,
    "command": list,
    "created": float,
    "engine": str,
    "members": dict,
    "name": str,
    "number": int,
    "slice": dict,
}
"""Parts of a manifest that must be there, and their types."""

MOST: Final = 200_000_000_000
"""Seconds since 1970, and counts, stay below."""

MAX_MANIFEST: Final = 1 << 20
FOLDER_MODE: Final = 0o750
FILE_MODE: Final = 0o640


@dataclass(slots=True)
class Bundle:
    """A bundle as its manifest describes it.

    Attributes
    ----------
    path : Path
    manifest : dict
    raw : bytes
        ``manifest.json`` as it stands.
    """

    path: Path
    manifest: dict[str, Any]
    raw: bytes = field(repr=False, default=b"")

    @property
    def name(self) -> str:
        """Its name, which is that of its folder."""
        return self.path.name

    @property
    def alerts(self) -> list[dict[str, Any]]:
        """``id``, ``rule``, ``level``, ``summary`` of each of its alerts."""
        return list(self.manifest.get("alerts", []))

    @property
    def digest(self) -> str:
        """SHA-256 of its manifest: what the next bundle's manifest names."""
        return hashlib.sha256(self.raw).hexdigest()


def bundle_name(start: float, alert: str) -> str:
    """Name of the bundle of an alert; its id is cut to hexadecimal digits."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(max(0.0, min(start, 253_402_300_799.0))))
    ident = alert if re.fullmatch(r"[0-9a-f]{12}", alert) else hashlib.sha256(alert.encode()).hexdigest()[:12]
    return f"{stamp}-{ident}"


def dumped(record: Any) -> bytes:
    """JSON for people and hashes: sorted, indented, ASCII."""
    return (json.dumps(record, indent=1, sort_keys=True, ensure_ascii=True) + "\n").encode("ascii")


def file_digest(path: Path) -> tuple[int, str]:
    """(bytes, SHA-256) of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return file.tell(), digest


def names(folder: Path) -> list[str]:
    """Names of the bundles of a folder, oldest first; empty when there is none."""
    try:
        with os.scandir(folder) as entries:
            found = [entry.name for entry in entries if NAME.fullmatch(entry.name)]
    except FileNotFoundError:
        return []
    return sorted(found)


def load(path: Path) -> Bundle:
    """A bundle's manifest.

    Raises
    ------
    InputError
        There is none, or it is none of ours.
    """
    try:
        with (path / MANIFEST).open("rb") as file:
            raw = file.read(MAX_MANIFEST + 1)
    except OSError as error:
        raise InputError(f"{path}: is no evidence bundle: {MANIFEST}: {error.strerror}") from error
    try:
        manifest = json.loads(raw) if len(raw) <= MAX_MANIFEST else None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path / MANIFEST}: is no JSON: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("kind") != "gridwarden-evidence":
        raise InputError(f"{path / MANIFEST}: is no manifest of an evidence bundle")
    if manifest.get("format") != FORMAT:
        raise InputError(
            f"{path / MANIFEST}: format {manifest.get('format')!r} is not known here ({FORMAT} is). "
            "Use the version of gridwarden that wrote it, or a newer one"
        )
    problem = _misshapen(manifest)
    if problem:
        raise InputError(f"{path / MANIFEST}: {problem} is not what it should be; somebody has changed it")
    return Bundle(path, manifest, raw)


def _misshapen(manifest: dict[str, Any]) -> str:
    """The first part of a manifest that is not of the type that others rely on; "" for none."""
    for key, kind in PARTS.items():
        if not isinstance(manifest.get(key), kind):
            return key
    if not all(isinstance(alert, dict) and _is_alert(alert) for alert in manifest["alerts"]):
        return "alerts"
    for facts in manifest["members"].values():
        if not isinstance(facts, dict) or not isinstance(facts.get("bytes"), int):
            return "members"
    cut = manifest["slice"]
    if not all(_is_amount(cut.get(word)) for word in ("frames", "first", "last", "lost")):
        return "slice"
    if not _texts(cut.get("incomplete")) or not _texts(manifest["command"]):
        return "command"
    for key in ("signer", "previous"):
        if not isinstance(manifest.get(key, {}), dict):
            return key
    return ""


def _is_alert(alert: dict[str, Any]) -> bool:
    words, frames = ("id", "rule", "level", "summary"), alert.get("frames_in_slice")
    return (
        all(isinstance(alert.get(word), str) for word in words)
        and isinstance(frames, list)
        and all(isinstance(frame, int) for frame in frames)
        and isinstance(alert.get("judge"), dict)
        and isinstance(alert.get("start"), int | float)
    )


def _is_amount(value: Any) -> bool:
    """A number that can be a time or a count; not NaN."""
    return isinstance(value, int | float) and 0 <= value < MOST


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def write_synced(path: Path, content: bytes) -> None:
    """A new file, on the disk when this returns."""
    descriptor = os.open(
        path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE
    )
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace_synced(path: Path, content: bytes) -> None:
    """A file with another content, all of it or none."""
    partial = path.with_name(f"{PARTIAL}{path.name}")
    write_synced(partial, content)
    partial.replace(path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """What was renamed in a folder survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""What judged: the same for all bundles of one configuration."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from detectors.baseline import Baseline

MAX_BASELINE: Final = 64 << 20
"""Bytes of a baseline that is kept with the bundles."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Site, baseline, engine and model behind a verdict.

    Attributes
    ----------
    site, sensor : str
    engine : str
        As ``gridwarden detect --engine`` takes it.
    profiles : tuple of str
        Folders with profiles of the user's own.
    baseline : str
        Name of the file.
    baseline_sha256 : str
    baseline_bytes : bytes
        Its content, so that it can be kept with the bundles; empty when it is too large.
    model : dict
        ``name`` of the behaviour model and its parameters.
    """

    site: str
    sensor: str
    engine: str
    profiles: tuple[str, ...]
    baseline: str
    baseline_sha256: str
    baseline_bytes: bytes = field(repr=False, default=b"")
    model: dict[str, Any] = field(default_factory=dict)


def origin_from(
    file: Path,
    baseline: Baseline,
    engine: str,
    profiles: Sequence[Path],
    site: str = "",
    sensor: str = "",
) -> Origin:
    """What judges with a baseline; its file is read for its digest, and kept if it is not too large."""
    try:
        content = file.read_bytes()
    except OSError:
        content = b""
    names = ("seed", "false_alarms_per_day", "window_s")
    model = {"name": str(baseline.params.get("model", ""))}
    return Origin(
        site,
        sensor,
        engine,
        tuple(str(folder.absolute()) for folder in profiles),
        file.name,
        hashlib.sha256(content).hexdigest(),
        content if len(content) <= MAX_BASELINE else b"",
        model | {name: baseline.params[name] for name in names if name in baseline.params},
    )

"""``[evidence]`` and ``[pseudonyms]``: what is kept of frames, and what of it leaves under other names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sensor.config.reader import NAME, ConfigError, Place, Section
from sensor.result import LEVELS
from sensor.sinks.secret import Secret

SCRUBBED: Final = r"[A-Za-z0-9_.\-]{3,64}"
"""A name that pseudonyms can take the place of."""

MAX_NAMES: Final = 1_000


@dataclass(frozen=True, slots=True)
class EvidenceConfig:
    """What is kept of the frames around an alert, and for how long."""

    enabled: bool = True
    folder: Path = Path("gridwarden.evidence")
    min_level: str = "warning"
    before_s: float = 10.0
    after_s: float = 5.0
    ring_mib: int = 64
    slice_mib: int = 16
    snaplen: int = 262_144
    max_mib: int = 512
    max_bundles: int = 2_000
    keep_days: float = 90.0
    per_hour: int = 60
    sign_key: Secret | None = None


@dataclass(frozen=True, slots=True)
class PseudonymConfig:
    """The key of pseudonyms, and names of stations and devices that are identifiers."""

    key: Secret | None = None
    names: tuple[str, ...] = ()


def parse_evidence(section: Section, base: Path, store: Path) -> EvidenceConfig:
    """``[evidence]``; ``store`` is beside the folder that holds when none is named."""
    plain = EvidenceConfig()
    named = section.text("folder")
    evidence = EvidenceConfig(
        enabled=section.boolean("enabled", plain.enabled),
        folder=base / named if named else evidence_folder(store),
        min_level=section.choice("min_level", LEVELS, plain.min_level),
        before_s=section.number("before_s", plain.before_s, 0, 300),
        after_s=section.number("after_s", plain.after_s, 0, 300),
        ring_mib=section.integer("ring_mib", plain.ring_mib, 1, 16_384),
        slice_mib=section.integer("slice_mib", plain.slice_mib, 1, 1_024),
        snaplen=section.integer("snaplen", plain.snaplen, 64, 262_144),
        max_mib=section.integer("max_mib", plain.max_mib, 1, 1 << 20),
        max_bundles=section.integer("max_bundles", plain.max_bundles, 1, 100_000),
        keep_days=section.number("keep_days", plain.keep_days, 0.01, 36_500),
        per_hour=section.integer("per_hour", plain.per_hour, 1, 10_000),
        sign_key=_secret(section, "sign_key", base),
    )
    if evidence.slice_mib > evidence.ring_mib:
        section.fail("slice_mib", f"{evidence.slice_mib} is more than ring_mib", "Make it smaller")
    if evidence.ring_mib > evidence.max_mib:
        section.fail("max_mib", f"{evidence.max_mib} is less than ring_mib", "Make it larger")
    section.done()
    return evidence


def evidence_folder(store: Path) -> Path:
    """Where bundles are kept when no folder is named: beside the store, under its name."""
    return store.with_name(f"{store.stem}.evidence")


def parse_pseudonyms(section: Section, base: Path) -> PseudonymConfig:
    """``[pseudonyms]``."""
    names = section.texts("names", MAX_NAMES)
    for name in names:
        if not re.fullmatch(SCRUBBED, name):
            section.fail(
                "names",
                f"{name[:40]!r} cannot be replaced",
                "Use 3 to 64 letters, digits, _ . - and no blanks",
            )
    pseudonyms = PseudonymConfig(_secret(section, "key", base), names)
    if names and pseudonyms.key is None:
        section.fail("names", "needs a key", 'Add key_file = "/etc/gridwarden/pseudonym.key"')
    section.done()
    return pseudonyms


def pseudonyms_in(data: Mapping[str, Any], file: Path) -> PseudonymConfig:
    """``[pseudonyms]`` of a file that need not be a whole configuration; raises ConfigError."""
    place = Place(str(file), {})
    pseudonyms = parse_pseudonyms(Section(data, place).section("pseudonyms"), file.resolve().parent)
    if place.problems:
        raise ConfigError(place.problems)
    return pseudonyms


def _secret(section: Section, word: str, base: Path) -> Secret | None:
    """A secret by file or by systemd credential."""
    file, credential = section.text(f"{word}_file"), section.text(f"{word}_credential", "", NAME, word)
    if file and credential:
        section.fail(f"{word}_credential", "is given twice", f"Keep one of {word}_file and {word}_credential")
    if file:
        return Secret(file=base / file)
    return Secret(credential=credential) if credential else None

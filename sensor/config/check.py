"""Looks at what a configuration names: baseline, profiles, captures, interfaces, the store's folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sensor.config.lines import key_lines
from sensor.config.reader import ConfigError, Place
from sensor.config.schema import Config
from sensor.errors import GridwardenError

if TYPE_CHECKING:
    from detectors.baseline import Baseline
    from grid_profiles.loader import Registry
    from sensor.sinks.secret import Secret


def load_parts(config: Config) -> tuple[Registry, Baseline]:
    """Profiles and baseline of a configuration.

    Raises
    ------
    ConfigError
        Names the key that leads to what cannot be used.
    """
    from detectors.baseline import Baseline, BaselineError
    from grid_profiles.loader import load_registry
    from grid_profiles.schema import ProfileError

    place = _place(config)
    registry = baseline = None
    try:
        registry = load_registry(config.profiles)
    except (ProfileError, OSError) as error:
        place.fail("site.profiles", str(error))
    try:
        baseline = Baseline.load(config.baseline)
    except (BaselineError, GridwardenError, OSError) as error:
        place.fail(
            "site.baseline", str(error), f"gridwarden learn --interface IFACE -o {config.baseline} makes one"
        )
    if registry is None or baseline is None:
        raise ConfigError(place.problems)
    return registry, baseline


def check_surroundings(config: Config) -> None:
    """Raise ConfigError for sources that are not there and a store that cannot be."""
    place = _place(config)
    for index, source in enumerate(config.sources):
        if source.interface:
            _interface(place, f"source[{index}].interface", source.interface)
        else:
            _captures(place, f"source[{index}].captures", source.captures)
    folder = config.store.path.parent
    if not folder.is_dir():
        place.fail("store.path", f"{folder} is not a folder", "Make it, or name another")
    elif not os.access(folder, os.W_OK):
        place.fail("store.path", f"{folder} cannot be written", "Check its owner and rights")
    _evidence(place, config)
    if place.problems:
        raise ConfigError(sorted(place.problems, key=lambda problem: problem.line))


def _evidence(place: Place, config: Config) -> None:
    """The folder of bundles, and the keys."""
    from sensor.daemon.evidence import check_folder, signer_of

    why = check_folder(config.evidence.folder) if config.evidence.enabled else ""
    if why:
        place.fail("evidence.folder", why, "Make it, or name another")
    _key(place, config.evidence.sign_key, "evidence.sign_key", lambda: signer_of(config))


def _key(place: Place, secret: Secret | None, word: str, look: Callable[[], object]) -> None:
    if secret is None or (secret.credential and not os.environ.get("CREDENTIALS_DIRECTORY")):
        return  # what only the service manager passes cannot be looked at from a shell
    try:
        look()
    except GridwardenError as error:
        place.fail(f"{word}_{'credential' if secret.credential else 'file'}", str(error))


def _place(config: Config) -> Place:
    try:
        text = config.file.read_text("utf-8")
    except (OSError, ValueError):
        text = ""
    return Place(str(config.file), key_lines(text))


def _interface(place: Place, key: str, name: str) -> None:
    if not (Path("/sys/class/net") / name).exists():
        there = ", ".join(sorted(entry.name for entry in Path("/sys/class/net").iterdir()))
        place.fail(key, f"no interface {name} on this machine", f"There are {there}")


def _captures(place: Place, key: str, names: tuple[str, ...]) -> None:
    from sensor.capture.sources import open_sources

    try:
        open_sources(names)
    except GridwardenError as error:
        place.fail(key, str(error))

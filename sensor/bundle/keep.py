"""The folder of bundles: its state, its bounds, what was given up."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sensor.bundle.layout import (
    BASELINES,
    FOLDER_MODE,
    PARTIAL,
    STATE,
    Bundle,
    dumped,
    load,
    names,
    replace_synced,
    sync_folder,
)
from sensor.errors import InputError

MAX_STATE: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is kept; the oldest bundles go first.

    Attributes
    ----------
    max_bytes, max_bundles : int
        Of all bundles together, the baselines that they name included.
    keep_s : float
        Seconds from when a bundle was made.
    """

    max_bytes: int
    max_bundles: int
    keep_s: float


@dataclass(slots=True)
class Folder:
    """The bundles of one sensor; belongs to the thread that writes them.

    Attributes
    ----------
    path : Path
    given_up : Counter
        Bundles by reason: ``age``, ``bytes``, ``count`` (kept no longer); ``busy``, ``hour``, ``disk``,
        ``error`` (never made). Over the life of the folder.
    sizes : dict of str to int
        Bytes of each bundle, by name.
    last : dict
        ``name`` and ``sha256`` (of the manifest) of the newest bundle; empty before the first.
    """

    path: Path
    given_up: Counter[str] = field(default_factory=Counter)
    sizes: dict[str, int] = field(default_factory=dict)
    created: dict[str, float] = field(default_factory=dict)
    baselines: dict[str, str] = field(default_factory=dict)
    alerts: dict[str, str] = field(default_factory=dict)
    last: dict[str, str] = field(default_factory=dict)

    def open(self) -> None:
        """Make the folder if need be, remove what a killed process left half done, see what is there.

        Raises
        ------
        OSError
        """
        self.path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        (self.path / BASELINES).mkdir(mode=FOLDER_MODE, exist_ok=True)
        for left in (*self.path.glob(f"{PARTIAL}*"), *(self.path / BASELINES).glob(f"{PARTIAL}*")):
            shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink(missing_ok=True)
        state = read_state(self.path)
        self.given_up = Counter(state["given_up"])
        self.last = state["last"]
        newest: Bundle | None = None
        for name in names(self.path):
            with contextlib.suppress(InputError):
                bundle = load(self.path / name)
                self.note(bundle)
                newest = bundle if newest is None or _number(bundle) >= _number(newest) else newest
        if newest is not None and _number(newest) > int(self.last.get("number", 0)):
            self.last = {"name": newest.name, "sha256": newest.digest, "number": str(_number(newest))}

    def note(self, bundle: Bundle) -> None:
        """A bundle is there."""
        members = bundle.manifest.get("members", {})
        self.sizes[bundle.name] = len(bundle.raw) + sum(int(one["bytes"]) for one in members.values())
        self.created[bundle.name] = float(bundle.manifest.get("created", 0.0))
        self.baselines[bundle.name] = str(bundle.manifest.get("baseline", {}).get("sha256", ""))
        self.alerts |= {str(alert["id"]): bundle.name for alert in bundle.alerts}

    @property
    def held(self) -> int:
        """Bytes of all bundles and baselines together."""
        kept = {digest for digest in self.baselines.values() if digest}
        return sum(self.sizes.values()) + sum(_size(self._baseline(digest)) for digest in kept)

    def hold(self, bounds: Bounds, now: float) -> list[str]:
        """Give up the oldest bundles until the bounds hold, and baselines that none names; their names.

        Raises
        ------
        OSError
        """
        gone: list[str] = []
        order = sorted(self.sizes, key=lambda name: (self.created[name], name))
        while order:
            if now - self.created[order[0]] > bounds.keep_s:
                reason = "age"
            elif len(order) > bounds.max_bundles:
                reason = "count"
            elif self.held > bounds.max_bytes:
                reason = "bytes"
            else:
                break
            name = order.pop(0)
            self._remove(name)
            self.given_up[reason] += 1
            gone.append(name)
        if gone:
            self._tidy_baselines()
            self.save()
        return gone

    def save(self) -> None:
        """Write ``state.json``."""
        replace_synced(self.path / STATE, dumped({"last": self.last, "given_up": dict(self.given_up)}))

    def keep_baseline(self, digest: str, content: bytes) -> bool:
        """Have a copy of a baseline; whether there is one."""
        target = self._baseline(digest)
        if not target.exists() and content:
            replace_synced(target, content)
        return target.exists()

    def _baseline(self, digest: str) -> Path:
        return self.path / BASELINES / f"{digest}.baseline"

    def _remove(self, name: str) -> None:
        aside = self.path / f"{PARTIAL}gone-{name}"
        with contextlib.suppress(FileNotFoundError):  # somebody else removed it
            (self.path / name).rename(aside)  # gone as a whole, even when the next line is never reached
            shutil.rmtree(aside)
            sync_folder(self.path)
        for table in (self.sizes, self.created, self.baselines):
            table.pop(name, None)
        self.alerts = {alert: bundle for alert, bundle in self.alerts.items() if bundle != name}

    def _tidy_baselines(self) -> None:
        named = {f"{digest}.baseline" for digest in self.baselines.values()}
        for path in (self.path / BASELINES).glob("*.baseline"):
            if path.name not in named:
                path.unlink(missing_ok=True)


def read_state(folder: Path) -> dict[str, Any]:
    """``last`` and ``given_up`` of a folder; empty where nothing can be read."""
    state: dict[str, Any] = {"last": {}, "given_up": {}}
    try:
        with (folder / STATE).open("rb") as file:
            found = json.loads(file.read(MAX_STATE))
        state["last"] = {str(key): str(value) for key, value in found["last"].items()}
        state["given_up"] = {str(key): int(value) for key, value in found["given_up"].items()}
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError):
        return {"last": {}, "given_up": {}}
    return state


def _number(bundle: Bundle) -> int:
    return int(bundle.manifest.get("number", 0))


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116
    except OSError:
        return 0

"""Writing one bundle: all of it under its name, or nothing."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from detectors.base import Alert
from sensor import __version__
from sensor.bundle.keep import Folder
from sensor.bundle.layout import (
    ALERTS,
    DISSECTION,
    FOLDER_MODE,
    FORMAT,
    MANIFEST,
    MEMBERS,
    PARTIAL,
    SIGNATURE,
    SLICE,
    Bundle,
    bundle_name,
    dumped,
    file_digest,
    load,
    sync_folder,
    write_synced,
)
from sensor.bundle.origin import Origin
from sensor.bundle.ring import Cut
from sensor.bundle.sign import Signer, fingerprint
from sensor.errors import GridwardenError
from sensor.result import alert_record

DISSECTED: Final = 20
"""Frames of a bundle that are dissected, at most."""

MODELS: Final = frozenset({"behaviour"})
"""Detectors whose verdict is that of a model with parameters, not of a rule."""


@dataclass(slots=True)
class Job:
    """One bundle to be written."""

    alerts: list[Alert]
    cut: Cut
    origin: Origin
    before_s: float
    after_s: float
    snaplen: int
    tried: int = 0

    @property
    def bytes(self) -> int:
        """Memory that it takes, about."""
        return len(self.cut.pcapng) + 8 * len(self.cut.numbers)


Dissect = Callable[[Path, Sequence[int]], str]


def write_bundle(
    folder: Folder, job: Job, now: float, signer: Signer | None, dissect: Dissect | str
) -> Bundle:
    """Write a bundle.

    Parameters
    ----------
    folder : Folder
    job : Job
    now : float
        Wall clock, epoch seconds.
    signer : Signer or None
    dissect : callable or str
        Gives the text of frames (numbers from 1) of a capture; or why there is none.

    Raises
    ------
    OSError
        The disk is full, or cannot be written; nothing of the bundle is left.
    """
    name = _free(folder.path, bundle_name(job.alerts[0].start, job.alerts[0].id))
    partial = folder.path / f"{PARTIAL}{name}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=FOLDER_MODE)
    try:
        kept = folder.keep_baseline(job.origin.baseline_sha256, job.origin.baseline_bytes)
        write_synced(partial / SLICE, job.cut.pcapng)
        lines = [json.dumps(alert_record(alert), ensure_ascii=True) for alert in job.alerts]
        write_synced(partial / ALERTS, "".join(f"{line}\n" for line in lines).encode("ascii"))
        deciding = deciding_frames(job)
        text, failed = _dissection(partial / SLICE, sorted(deciding.values())[:DISSECTED], dissect)
        write_synced(partial / DISSECTION, text.encode("utf-8", "backslashreplace"))
        manifest = _manifest(folder, name, job, now, deciding, kept, failed)
        if signer is not None:
            manifest["signer"] = {"algorithm": "Ed25519", "public_key": signer.public}
            manifest["signer"]["fingerprint"] = fingerprint(signer.public)
        manifest["members"] = {
            member: dict(zip(("bytes", "sha256"), file_digest(partial / member), strict=True))
            for member in MEMBERS
        }
        raw = dumped(manifest)
        write_synced(partial / MANIFEST, raw)
        if signer is not None:
            write_synced(partial / SIGNATURE, signer.sign(raw))
        sync_folder(partial)
        partial.rename(folder.path / name)
        sync_folder(folder.path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    bundle = load(folder.path / name)
    folder.note(bundle)
    folder.last = {"name": name, "sha256": bundle.digest, "number": str(manifest["number"])}
    folder.save()
    return bundle


def deciding_frames(job: Job) -> dict[int, int]:
    """Numbers of the alerts' frames, and which frame of the slice (from 1) each is."""
    wanted = dict.fromkeys(frame for alert in job.alerts for frame in alert.frames if frame > 0)
    place = {number: index + 1 for index, number in enumerate(job.cut.numbers.tolist())}
    return {number: place[number] for number in wanted if number in place}


def command(origin: Origin, kept: bool) -> list[str]:
    """The call that judges the slice again; relative to the bundle's folder."""
    baseline = f"../baselines/{origin.baseline_sha256}.baseline" if kept else origin.baseline
    call = ["gridwarden", "detect", SLICE, "-b", baseline, "--engine", origin.engine]
    for profile in origin.profiles:
        call += ["--profiles", profile]
    return call


def _manifest(
    folder: Folder, name: str, job: Job, now: float, deciding: dict[int, int], kept: bool, failed: str
) -> dict[str, Any]:
    origin, cut = job.origin, job.cut
    return {
        "kind": "gridwarden-evidence",
        "format": FORMAT,
        "name": name,
        "number": int(folder.last.get("number", 0)) + 1,
        "created": float(round(now, 3)),
        "gridwarden": __version__,
        "site": origin.site,
        "sensor": origin.sensor,
        "alerts": [_alert(alert, deciding, origin) for alert in job.alerts],
        "baseline": {"name": origin.baseline, "sha256": origin.baseline_sha256, "kept": kept},
        "engine": origin.engine,
        "slice": {
            "frames": len(cut.numbers),
            "first": cut.first / 1e9,
            "last": cut.last / 1e9,
            "before_s": job.before_s,
            "after_s": job.after_s,
            "snaplen": job.snaplen,
            "complete": not cut.incomplete,
            "incomplete": list(cut.incomplete),
            "lost": cut.lost,
        },
        "dissection": failed or "tshark",
        "command": command(origin, kept),
        "previous": {key: folder.last[key] for key in ("name", "sha256") if key in folder.last},
    }


def _alert(alert: Alert, deciding: dict[int, int], origin: Origin) -> dict[str, Any]:
    judge: dict[str, Any] = {"rule": alert.rule, "detector": alert.detector, "version": __version__}
    if alert.detector in MODELS:
        judge["model"] = origin.model
    return {
        "id": alert.id,
        "start": alert.start,
        "level": alert.level,
        "rule": alert.rule,
        "summary": alert.summary,
        "judge": judge,
        "frames": alert.frames,
        "frames_in_slice": [deciding[frame] for frame in alert.frames if frame in deciding],
    }


def _dissection(path: Path, numbers: list[int], dissect: Dissect | str) -> tuple[str, str]:
    """(text, why there is none)."""
    if isinstance(dissect, str):
        return f"not dissected: {dissect}\n", dissect
    if not numbers:
        why = "none of the alerts' frames is in the slice"
        return f"not dissected: {why}\n", why
    try:
        return dissect(path, numbers), ""
    except (GridwardenError, OSError) as error:
        return f"not dissected: {error}\n", str(error)


def _free(folder: Path, name: str) -> str:
    """The name, with a number behind it when it is taken."""
    for number in range(1, 1_000):
        chosen = name if number == 1 else f"{name}-{number}"
        if not os.path.lexists(folder / chosen):
            return chosen
    raise FileExistsError(17, "too many bundles of one alert", str(folder / name))

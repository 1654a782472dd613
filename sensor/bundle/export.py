"""A bundle on its way out: a zip archive, as it is or with pseudonyms.

With pseudonyms it is another bundle, which names the one that it was made of: its slice is rewritten, its
texts are scrubbed, its frames dissected anew, and its hashes are its own. What the signature of the original
covers stays at the site.
"""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from sensor.bundle.layout import (
    ALERTS,
    BASELINES,
    DISSECTION,
    FILE_MODE,
    MANIFEST,
    MEMBERS,
    SIGNATURE,
    SLICE,
    Bundle,
    dumped,
    file_digest,
    load,
)
from sensor.bundle.sign import Signer, fingerprint
from sensor.bundle.verify import baseline_of
from sensor.errors import GridwardenError, InputError
from sensor.pseudonym.frames import FrameScrub
from sensor.pseudonym.key import Pseudonyms
from sensor.pseudonym.records import scrubbed
from sensor.pseudonym.text import Scrubber

EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""Of every member, so that the same bundle gives the same archive."""

MAX_UNPACKED: Final = 1 << 30

Dissect = Callable[[Path, Sequence[int]], str]


def export(bundle: Bundle, target: Path, with_baseline: bool = True) -> None:
    """Write a bundle as it is into a zip archive, and the baseline that judged beside it.

    Raises
    ------
    InputError
        The archive is there already.
    OSError
    """
    parts = {f"{bundle.name}/{name}": bundle.path / name for name in (*MEMBERS, MANIFEST, SIGNATURE)}
    baseline = baseline_of(bundle) if with_baseline else None
    if baseline is not None:
        parts[f"{BASELINES}/{baseline.name}"] = baseline
    _zip(target, {name: path for name, path in parts.items() if path.is_file()})


def export_scrubbed(
    bundle: Bundle, target: Path, pseudonyms: Pseudonyms, signer: Signer | None, dissect: Dissect | str
) -> dict[str, int]:
    """Write a bundle with pseudonyms into a zip archive.

    Returns
    -------
    dict
        ``frames``, ``cut`` (behind their headers: content of a kind that may hold addresses), ``cut-address``
        (content in which an address was found).

    Raises
    ------
    InputError
        The archive is there already, or the slice cannot be read.
    OSError
    """
    with tempfile.TemporaryDirectory(prefix="gridwarden-") as made:
        stamp, _, rest = bundle.name.partition("-")
        name = f"{stamp}-{pseudonyms.ident(rest)}"  # rest is the id of an alert
        folder = Path(made) / name
        folder.mkdir()
        counts = _scrub(bundle, folder, pseudonyms, signer, dissect)
        parts = {f"{name}/{one}": folder / one for one in (*MEMBERS, MANIFEST, SIGNATURE)}
        _zip(target, {name: path for name, path in parts.items() if path.is_file()})
    return counts


def unpacked(archive: Path, folder: Path) -> list[Bundle]:
    """Bundles of an archive, unpacked into a folder.

    Raises
    ------
    InputError
        It is no archive of bundles, or holds what does not belong there.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            if sum(info.file_size for info in opened.infolist()) > MAX_UNPACKED:
                raise InputError(f"{archive}: unpacks to more than {MAX_UNPACKED >> 30} GiB")
            names: set[str] = set()
            for info in opened.infolist():
                parts = info.filename.split("/")
                if len(parts) != 2 or any(part in ("", ".", "..") or "\\" in part for part in parts):
                    raise InputError(f"{archive}: {info.filename[:60]!r} does not belong there")
                place = folder / parts[0]
                place.mkdir(exist_ok=True)
                (place / parts[1]).write_bytes(opened.read(info))
                if parts[0] != BASELINES:
                    names.add(parts[0])
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as error:
        raise InputError(f"{archive}: is no archive that can be read: {error}") from error
    return [load(folder / name) for name in sorted(names)]


def _scrub(
    bundle: Bundle, folder: Path, pseudonyms: Pseudonyms, signer: Signer | None, dissect: Dissect | str
) -> dict[str, int]:
    from sensor.capture.pcapfile import CaptureFile
    from sensor.capture.pcapwrite import CaptureWriter

    scrubber, frames = Scrubber(pseudonyms), FrameScrub(pseudonyms)
    source = CaptureFile(bundle.path / SLICE)
    whole = frames.batch([batch for batch in source.batches() if len(batch)])
    with (folder / SLICE).open("wb") as file:
        CaptureWriter(file, comment="addresses are pseudonyms").write(whole)
    with (folder / ALERTS).open("w", encoding="ascii") as out, (bundle.path / ALERTS).open("rb") as lines:
        for line in lines:
            out.write(json.dumps(scrubbed(json.loads(line), scrubber), ensure_ascii=True) + "\n")
    text, why = _dissected(bundle, folder, dissect)
    (folder / DISSECTION).write_text(scrubber.text(text) if why else text, "utf-8", "backslashreplace")
    manifest = scrubbed(
        {key: value for key, value in bundle.manifest.items() if key not in OWN}, scrubber
    ) | {key: bundle.manifest[key] for key in KEPT if key in bundle.manifest}
    manifest["name"] = folder.name
    manifest["dissection"] = scrubber.text(why) or "tshark"
    manifest["command"] = []
    judged = bundle.manifest.get("baseline", {})
    manifest["baseline"] = scrubbed(judged, scrubber) | {"kept": False}
    manifest["pseudonymised"] = {"of": bundle.digest, **dict(frames.counts)}
    if signer is not None:
        public = signer.public
        manifest["signer"] = {
            "algorithm": "Ed25519",
            "public_key": public,
            "fingerprint": fingerprint(public),
        }
    manifest["members"] = {
        name: dict(zip(("bytes", "sha256"), file_digest(folder / name), strict=True)) for name in MEMBERS
    }
    raw = dumped(manifest)
    (folder / MANIFEST).write_bytes(raw)
    if signer is not None:
        (folder / SIGNATURE).write_bytes(signer.sign(raw))
    return dict(frames.counts)


OWN: Final = frozenset(
    {"members", "signer", "previous", "command", "baseline", "slice", "dissection", "name"}
)
"""Parts of a manifest that are made anew, or left out."""

KEPT: Final = (
    "slice",
    "site",
    "sensor",
    "number",
    "kind",
    "format",
    "gridwarden",
    "engine",
    "created",
)


def _dissected(bundle: Bundle, folder: Path, dissect: Dissect | str) -> tuple[str, str]:
    """The deciding frames of the rewritten slice as tshark shows them; (text, why there is none)."""
    wanted = sorted({int(n) for alert in bundle.alerts for n in alert.get("frames_in_slice", [])})[:20]
    if isinstance(dissect, str):
        return f"not dissected: {dissect}\n", dissect
    if not wanted:
        return "not dissected: no deciding frame\n", "no deciding frame"
    try:
        return dissect(folder / SLICE, wanted), ""
    except (GridwardenError, OSError) as error:
        return f"not dissected: {error}\n", str(error)


def _zip(target: Path, parts: dict[str, Path]) -> None:
    """All of an archive under its name, or nothing; never over a file that is there."""
    if os.path.lexists(target):
        raise InputError(f"{target}: is there already. Name another file, or remove it")
    with tempfile.NamedTemporaryFile(
        dir=target.absolute().parent, prefix=".gridwarden-", delete=False
    ) as file:
        try:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                for name, path in sorted(parts.items()):
                    info = zipfile.ZipInfo(name, EPOCH)
                    info.compress_type = zipfile.ZIP_DEFLATED
                    info.external_attr = FILE_MODE << 16
                    archive.writestr(info, path.read_bytes())
            file.flush()
            os.fchmod(file.fileno(), FILE_MODE)
            os.fsync(file.fileno())
            os.link(file.name, target)
        except FileExistsError as error:
            raise InputError(f"{target}: is there already. Name another file, or remove it") from error
        finally:
            Path(file.name).unlink(missing_ok=True)

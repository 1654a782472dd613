"""The evidence of an alert: a handful of frames, found in their captures and dissected by tshark.

The frames are cut out first, each with what came shortly before it (so that TCP segments come together and
answers find their requests); tshark reads only that small file, however large the capture is. Everything is
bounded: frames, context, the time to reach them, the time that tshark may take.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from sensor.errors import GridwardenError
from sensor.frames import FILE_SHIFT

if TYPE_CHECKING:
    from sensor.capture.pcapfile import CaptureFile
    from sensor.capture.tshark_dissect import Dissection

CONTEXT: Final = 500
"""Frames before each piece of evidence that tshark gets to see."""
READING: Final = 60.0
"""Seconds in which the frames must be reached."""
DEADLINE: Final = 30.0
"""Seconds after which tshark is given up."""
MASK: Final = (1 << FILE_SHIFT) - 1


@dataclass(frozen=True, slots=True)
class Piece:
    """One frame of evidence.

    Attributes
    ----------
    capture : str
        File, as the user named it.
    number : int
        Frame number in that file.
    dissection : Dissection
    """

    capture: str
    number: int
    dissection: Dissection


@dataclass(slots=True)
class Evidence:
    """Frames of an alert, in the order of the alert, and what could not be shown.

    Attributes
    ----------
    pieces : list of Piece
    problems : list of (str, dict)
        Key of a text of the catalogue, and what to put into it.
    """

    pieces: list[Piece]
    problems: list[tuple[str, dict[str, str]]]


def evidence_of(frames: Sequence[int], captures: Sequence[str], most: int) -> Evidence:
    """Dissect the first ``most`` frames of an alert.

    Parameters
    ----------
    frames : sequence of int
        As in ``Alert.frames``: file index above ``FILE_SHIFT``.
    captures : sequence of str
        Files, folders or globs in the order in which the run read them.
    most : int

    Raises
    ------
    CaptureError
        A name that leads nowhere, or no capture among all that was named.
    """
    from sensor.capture.sources import open_sources

    files = open_sources(captures)
    evidence = Evidence([], [])
    wanted = list(dict.fromkeys(frame for frame in frames if frame > 0))[:most]
    for index in dict.fromkeys(frame >> FILE_SHIFT for frame in wanted):
        numbers = sorted({frame & MASK for frame in wanted if frame >> FILE_SHIFT == index})
        if index >= len(files):
            evidence.problems.append(("evidence.no-file", {"index": str(index + 1)}))
            continue
        file = files[index]
        try:
            found = list(_dissected(file, numbers))
        except GridwardenError as error:
            evidence.problems.append(("evidence.failed", {"file": file.shown, "error": str(error)}))
            continue
        evidence.pieces += found
        missing = [str(n) for n in numbers if n not in {piece.number for piece in found}]
        if missing:
            values = {"file": file.shown, "frames": ", ".join(missing)}
            evidence.problems.append(("evidence.missing", values))
    order = {frame: place for place, frame in enumerate(wanted)}
    place = {file.shown: file.index for file in files}
    evidence.pieces.sort(key=lambda piece: order[(place[piece.capture] << FILE_SHIFT) + piece.number])
    return evidence


def _dissected(file: CaptureFile, numbers: Sequence[int]) -> Iterator[Piece]:
    from grid_profiles.loader import load_registry
    from sensor.capture.tshark import TsharkEngine
    from sensor.names import Names

    registry = load_registry()
    engine = TsharkEngine(registry, Names(registry), deadline=DEADLINE)
    with tempfile.TemporaryDirectory(prefix="gridwarden-") as folder:
        cut = Path(folder) / "evidence.pcapng"
        ours = cut_out(file, numbers, cut)
        theirs = [place + 1 for place, number in enumerate(ours) if number in set(numbers)]
        for dissection in engine.dissect(cut, theirs):
            yield Piece(file.shown, ours[dissection.number - 1], dissection)


def dissected_text(path: Path, numbers: Sequence[int]) -> str:
    """Frames of a capture as tshark shows them, for people; what a terminal would act on is left out.

    Parameters
    ----------
    path : Path
    numbers : sequence of int
        Frame numbers in the file, from 1.

    Raises
    ------
    TsharkError
    CaptureError
    """
    from sensor.capture.pcapfile import CaptureFile

    text: list[str] = []
    for piece in _dissected(CaptureFile(path), sorted(numbers)):
        text.append(f"frame {piece.number}")
        for line in piece.dissection.lines:
            shown = "".join(c if c.isprintable() else "\ufffd" for c in line.text)
            text.append(f"{'  ' * (line.depth + 1)}{shown}")
        if piece.dissection.left_out:
            text.append(f"  and {piece.dissection.left_out} lines more")
        text.append("")
    return "\n".join(text)


def cut_out(
    file: CaptureFile, numbers: Sequence[int], target: Path, context: int = CONTEXT, seconds: float = READING
) -> list[int]:
    """Write frames, each with those before it, to a file of their own.

    Parameters
    ----------
    file : CaptureFile
    numbers : sequence of int
        Frame numbers in the file, from 1.
    target : Path
        pcapng, private to the user.
    context : int
        Frames before each one that go with it.
    seconds : float
        Reading ends after that time; what was not reached is missing.

    Returns
    -------
    list of int
        Number in ``file`` of each frame written, in order.
    """
    from sensor.capture.pcapwrite import CaptureWriter, private

    written: list[int] = []
    wanted = np.array(sorted(numbers), np.int64)
    deadline = time.monotonic() + seconds
    with open(target, "wb", opener=private) as out:
        writer = CaptureWriter(out)
        for batch in file.batches():
            own = batch.number & MASK
            after = np.searchsorted(wanted, own)  # the next frame that is wanted, for every row
            near = after < len(wanted)
            near &= wanted[np.minimum(after, len(wanted) - 1)] - own <= context
            if near.any():
                writer.write(batch.take(near))
                written += own[near].tolist()
            if (len(own) and own[-1] >= wanted[-1]) or time.monotonic() > deadline:
                break
    return written

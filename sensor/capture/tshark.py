"""The tshark engine: a capture file through tshark, as MESSAGE and POINT rows (docs/messages.md).

The only importer of pyshark, whose capture class builds the command line. Its packet objects are not used:
tshark writes only the fields that the profiles ask for.

Two runs, the second only if needed:

1. columns (``-T fields``, :mod:`sensor.capture.tshark_fields`) of all wanted frames, one tshark for all
   profiles. A frame in which every protocol has one message and at most one point becomes rows at once;
2. tree (``-T pdml``, :mod:`sensor.capture.tshark_tree`) of the frames that columns cannot tell: several
   messages of one protocol, several points, octets of numbers, text with escapes. Each message gets its own
   values.

Preferences, tried with tshark 4.0 on crafted captures:

- ``tcp.analyze_sequence_numbers:FALSE``: with the default TRUE the payload of what tshark takes for a
  retransmission is not dissected, so that a replayed command is invisible. With FALSE every repeated segment
  is dissected again, and messages over segment borders still come together (``tcp.desegment_tcp_streams``
  stays TRUE).
- ``tcp.reassemble_out_of_order`` stays FALSE: it works only with the analysis on, and then hides everything
  behind one segment that the capture lost. The price: a message whose own segments arrive in the wrong order
  is not put together. The native engine does that for its protocols.
- names are not resolved (``-n``), the user's own tshark configuration is not read, PRP and HSR trailers stay
  off, times are UTC.

Refuses: a missing tshark, one that hangs, crashes or complains (TsharkError says why); a profile whose
protocol this tshark does not know is left out and named in :attr:`TsharkEngine.notes`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from packaging import version
from pyshark.capture.file_capture import FileCapture

from grid_profiles.loader import Registry
from grid_profiles.schema import Profile
from grid_profiles.vocabulary import MISSING
from sensor.capture.expressions import Compiler
from sensor.capture.tshark_batches import ColumnReader, Out, merged, tree_rows
from sensor.capture.tshark_dissect import Dissection, read_dissections
from sensor.capture.tshark_fields import BASE, FORMAT, ColumnLines, FrameReader
from sensor.capture.tshark_plan import Plan, frame_filter
from sensor.capture.tshark_process import (
    MEMORY,
    PATIENCE,
    TsharkError,
    TsharkProcess,
    find_tshark,
    need_tshark,
    tshark_version,
)
from sensor.capture.tshark_rows import Frame, Interner, ProfileRows
from sensor.capture.tshark_spool import HOLE, Chunk, Spool, places_of
from sensor.capture.tshark_tree import TreeMap, TreePackets, Trees
from sensor.messages import Rows
from sensor.names import Names

__all__ = ["TsharkEngine", "TsharkError", "find_tshark", "tshark_version"]

CHUNK: Final = 16_384
"""Lines of columns that make one batch."""


class _File(FileCapture):  # type: ignore[misc]  # pyshark has no types
    """pyshark's capture file as a command line for :class:`TsharkProcess`."""

    def __init__(self, tshark: Path, path: Path, **options: Any) -> None:
        self._tshark = tshark
        super().__init__(input_file=path, keep_packets=False, tshark_path=str(tshark), **options)

    def command(self) -> list[str]:
        """Program and options; pyshark's parameters with names left unresolved."""
        parameters: list[str] = self.get_parameters()
        return [str(self._tshark), "-n", *map(str, parameters)]

    def _setup_eventloop(self) -> None:
        """No event loop: the output is read as columns, from a pipe."""
        self.eventloop = None

    def _get_tshark_path(self) -> str:
        return str(self._tshark)

    def _get_tshark_version(self) -> Any:
        return version.parse(tshark_version() or "4.0.0")


class TsharkEngine:
    """Decodes capture files with tshark.

    Parameters
    ----------
    registry : Registry
        Every profile of the run.
    names : Names
        Gives endpoints, texts and conversations their numbers.
    profiles : sequence of Profile, optional
        Those to decode; all with a ``[tshark]`` section by default.
    keep_tcp_duplicates : bool
        Also decode TCP segments that tshark takes for retransmissions.
    patience : float
        Seconds without progress after which tshark counts as hung.
    memory, deadline : int, float
        Most bytes of address space, and most seconds, of each run.

    Attributes
    ----------
    notes : list of str
        Profiles and settings that this tshark cannot serve.
    counters : dict of str to int
        ``frames`` with a message, ``trees`` read as trees, ``left_out`` too large to be read.

    Raises
    ------
    TsharkError
        There is no tshark, or one that is too old.
    """

    def __init__(
        self,
        registry: Registry,
        names: Names,
        profiles: Sequence[Profile] | None = None,
        keep_tcp_duplicates: bool = True,
        patience: float = PATIENCE,
        memory: int = MEMORY,
        deadline: float = float("inf"),
    ) -> None:
        chosen = registry.profiles if profiles is None else profiles
        self._tshark = need_tshark()
        self._plan = Plan(self._tshark, [profile for profile in chosen if profile.tshark is not None])
        self._limits = (patience, memory, deadline)
        self._preferences = {"tcp.analyze_sequence_numbers": "FALSE" if keep_tcp_duplicates else "TRUE"}
        self._preferences |= self._plan.preferences
        self._numbers: npt.NDArray[np.int64] | None = None
        self._interner = Interner(names)
        compiler = Compiler(self._plan.frame_fields, self._renumber)
        self._rows = [ProfileRows(profile, self._interner, compiler) for profile in self._plan.profiles]
        self._next_tree: tuple[int, Trees] | None = None
        self.counters = {"frames": 0, "trees": 0, "left_out": 0}

    @property
    def notes(self) -> list[str]:
        """Profiles and settings that this tshark cannot serve."""
        return self._plan.notes

    def decode(self, path: Path, numbers: npt.NDArray[np.int64] | None = None) -> Iterator[Rows]:
        """Messages and points of a capture file, in batches, in frame order; one file at a time.

        Parameters
        ----------
        path : Path
            pcap or pcapng.
        numbers : ndarray of int64, optional
            Our frame number of tshark's frame i + 1; the same by default.

        Yields
        ------
        messages : ndarray of MESSAGE
        points : ndarray of POINT
            ``message`` numbers the messages of the same batch.

        Raises
        ------
        TsharkError
            tshark failed.
        OSError
            The file cannot be opened.
        """
        path.open("rb").close()  # an error that names the file
        if not self._rows:
            return
        self._numbers, self._next_tree = numbers, None
        with tempfile.TemporaryDirectory(prefix="gridwarden-") as folder:
            marks = self._asked_filters(path, Path(folder))
            spool: Spool | None = None
            try:
                for chunk in self._chunks(path, Path(folder), marks):
                    if spool is None and not len(chunk.holes):
                        yield chunk.messages, chunk.points
                        continue
                    spool = spool or Spool()
                    spool.add(chunk)
                if spool is not None:
                    yield from self._filled(path, Path(folder), spool)
            finally:
                if spool is not None:
                    spool.close()

    def dissect(self, path: Path, numbers: Sequence[int]) -> Iterator[Dissection]:
        """What tshark shows of a handful of frames of a capture file, with the profiles' own settings.

        Parameters
        ----------
        path : Path
            pcap or pcapng; tshark reads all of it, so cut out what is needed first.
        numbers : sequence of int
            tshark's numbers of the frames, from 1.

        Raises
        ------
        TsharkError
            tshark failed, or took longer than the engine allows.
        OSError
            The file cannot be opened.
        """
        path.open("rb").close()  # an error that names the file
        if not numbers:
            return
        wanted = sorted(set(numbers))
        show = frame_filter(np.array(wanted, np.int64))
        with (
            tempfile.TemporaryDirectory(prefix="gridwarden-") as folder,
            self._start(path, Path(folder), ("-T", "pdml"), show) as process,
        ):
            yield from read_dissections(process, set(wanted))

    def _renumber(self, number: int) -> int:
        """Our number of tshark's frame; -1 for one that was not given."""
        if self._numbers is None:
            return number
        return int(self._numbers[number - 1]) if 0 < number <= len(self._numbers) else MISSING

    def _start(self, path: Path, folder: Path, output: Sequence[str], show: str) -> TsharkProcess:
        heuristics = [item for name in self._plan.heuristics for item in ("--enable-heuristic", name)]
        capture = _File(
            self._tshark,
            path.absolute(),
            display_filter=show,
            override_prefs=self._preferences,
            decode_as=self._plan.decode_as,
            custom_parameters=[*output, *heuristics],
        )
        return TsharkProcess(capture.command(), folder, *self._limits)

    def _asked_filters(self, path: Path, folder: Path) -> dict[int, npt.NDArray[np.int64]]:
        """Frames that match the filters which cannot be told from presence, by place of the profile."""
        marks = {}
        for place, presence in enumerate(self._plan.filters):
            if presence is None:
                output = ("-T", "fields", "-e", "frame.number")
                with self._start(path, folder, output, self._plan.any_filter([place])) as process:
                    try:
                        text = b"".join(process.pieces())
                    except TsharkError as error:
                        profile = self._plan.profiles[place]
                        raise TsharkError(
                            f"{error} (filter of profile {profile.source or profile.name})"
                        ) from None
                marks[place] = np.array(text.split(), np.int64)
        return marks

    def _chunks(self, path: Path, folder: Path, marks: dict[int, npt.NDArray[np.int64]]) -> Iterator[Chunk]:
        columns = [item for name in (*BASE, *self._plan.names) for item in ("-e", name)]
        show = self._plan.any_filter(range(len(self._rows)))
        with self._start(path, folder, (*FORMAT, *columns), show) as process:
            frames = FrameReader(self._interner, self._renumber)
            reader = ColumnReader(self._plan, self._rows, frames, marks)
            lines = ColumnLines(process, self._plan.names)
            count = 0
            for parts, found in lines:
                reader.line(parts, found)
                count += 1
                if count == CHUNK:
                    yield reader.take()
                    count = 0
            self.counters["left_out"] += lines.too_long
            self.counters["frames"] += reader.frames
            yield reader.take()

    def _filled(self, path: Path, folder: Path, spool: Spool) -> Iterator[Rows]:
        """The chunks with their holes filled from the tree."""
        numbers, places = _wanted(spool)
        maps = {place: TreeMap(self._plan.profiles[place]) for place in places}
        nodes = sorted({node for tree_map in maps.values() for node in tree_map.nodes})
        show = f"({self._plan.any_filter(places)}) && ({frame_filter(numbers)})"
        with self._start(path, folder, ("-T", "pdml", "-J", " ".join(nodes)), show) as process:
            packets = TreePackets(process, maps, self._plan.octets_of, numbers)
            trees = iter(packets)
            for chunk in spool.chunks():
                yield merged(chunk, self._fill(chunk, trees))
            for _ in trees:  # to its end, so that a failure is told
                pass
            self.counters["left_out"] += packets.unreadable

    def _fill(self, chunk: Chunk, trees: Iterator[tuple[int, Trees]]) -> Out:
        """Rows of the holes of a chunk; the frames between them are passed over."""
        out = Out()
        for hole, words in zip(chunk.holes.tolist(), chunk.holes["profiles"], strict=True):
            frame = Frame(*hole[: len(Frame._fields)])
            for number, tree in self._ahead(trees, frame.number):
                if number == frame.number:
                    self.counters["trees"] += 1
                    for place in places_of(words):
                        messages = tree.get(place, [])
                        tree_rows(out, self._rows[place], frame, messages)
        return out

    def _ahead(self, trees: Iterator[tuple[int, Trees]], number: int) -> Iterator[tuple[int, Trees]]:
        """Trees up to and including a frame number; the first one behind it waits for the next call."""
        while True:
            tree = self._next_tree or next(trees, None)
            self._next_tree = None
            if tree is None:
                return
            if tree[0] > number:
                self._next_tree = tree
                return
            yield tree


def _wanted(spool: Spool) -> tuple[npt.NDArray[np.int64], list[int]]:
    """Frame numbers of all holes, and the places of their profiles."""
    numbers, mask = [], np.zeros(HOLE["profiles"].shape, np.uint64)
    for chunk in spool.chunks():
        numbers.append(chunk.holes["number"])
        if len(chunk.holes):
            mask |= np.bitwise_or.reduce(chunk.holes["profiles"], axis=0)
    return np.concatenate(numbers), places_of(mask)

"""From capture files to messages: the native engine, tshark, or both.

``auto`` lets the native engine read all frames and hands those it does not know to tshark, once per file:
a first native pass finds them, tshark reads just these, a second native pass is merged with tshark's
rows by frame number. A generic row (``udp``, ``ip``, ``ethernet``) gives way to what tshark makes of the same
frame. Rows come in frame order, whatever the batch size.

A live interface is read by the native engine as it comes; with ``auto`` another process hands what is left
to tshark in segments, and its rows come some seconds later (``sensor.side``). With the engine ``tshark``
dumpcap captures first, and what it wrote is decoded when it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
import numpy.typing as npt

from grid_profiles.loader import Registry, load_registry
from sensor.capture.live import LiveCapture, LiveSettings
from sensor.capture.pcapfile import CaptureFile
from sensor.capture.sources import open_sources
from sensor.errors import CaptureError, MissingToolError, UsageError
from sensor.frames import FrameBatch, FrameSource, no_frames
from sensor.messages import MessageBatch, Rows, interleave, select
from sensor.names import Limits, Names
from sensor.native import NativeEngine
from sensor.precompile import precompile
from sensor.track.state import ETHERNET, IP, UDP

if TYPE_CHECKING:
    from sensor.side.beside import Beside

ENGINES: Final = ("auto", "native", "tshark")
BATCH: Final = 65_536
DENSE: Final = 16_384
"""Frames decoded at once where many are messages: rows that fit the cache are copied and freed fast."""

DENSITY: Final = 0.25
"""Messages per frame from which on that is done; samples and GOOSE repetitions have far fewer."""

LIVE_NOTE: Final = (
    "live, native decoders only: there is no tshark; what only it reads is counted, not decoded. "
    "sudo apt-get install tshark"
)


def _rest(frames: FrameBatch, first: int) -> FrameBatch:
    """Frames from ``first`` on, with what the batch says about the time behind them."""
    return replace(frames.take(slice(first, None)), clock=frames.clock, lost_after=frames.lost_after)


class _Foreign(Protocol):
    """What a second engine offers: messages up to and including a frame number."""

    def upto(self, number: int) -> Rows: ...
    def close(self) -> None: ...


class Decoded:
    """Messages of one or more captures, in reading order; iterate over it once.

    Attributes
    ----------
    names : Names
        Resolves the numbers in the batches.
    files : list of FrameSource
        With ``problems`` (what could not be read) once iterated.
    native : NativeEngine
        Its counters and hosts, valid when the iteration has ended.
    farewell : float or None
        Live: seconds for which the end waits for tshark's last rows; None for as long as they may take.
    notes : list of str
        What else limits the view: tshark missing, crashed or hung.
    on_progress : callable or None
        Called with the fraction of the work done, 0 to 1.
    stop : callable or None
        Ends a live capture soon and in order; safe in a signal handler. None for files.
    """

    def __init__(
        self,
        files: Sequence[FrameSource],
        registry: Registry,
        engine: str = "auto",
        batch: int = BATCH,
        limits: Limits | None = None,
        copies: str = "auto",
        profiles: Sequence[Path] = (),
    ) -> None:
        self.files = list(files)
        self.engine = engine
        self.batch = batch
        precompile()  # here, where an interrupted program can end it; messages may be asked for by a thread
        self.names = Names(registry, limits)
        self.native = NativeEngine(self.names, copies)
        self.copies, self._profiles = copies, profiles
        self.beside: Beside | None = None
        self.farewell: float | None = None
        self.notes: list[str] = []
        self.on_progress: Callable[[float], None] | None = None
        self.stop: Callable[[], None] | None = None
        self.first: int | None = None
        self.last = 0
        self._undecoded = 0
        self._dense = False
        self._decoded_natively = [
            profile.id for profile in registry.profiles if profile.native and profile.tshark is not None
        ]
        self._done = 0
        self._total = sum(file.size for file in files) or 1

    @property
    def problems(self) -> list[CaptureError]:
        """What could not be read, over all files."""
        return [problem for file in self.files for problem in file.problems]

    @property
    def dropped(self) -> int:
        """Frames that the captures themselves report as lost."""
        return sum(int(file.dropped) for file in self.files)

    @property
    def undecoded(self) -> int:
        """Frames with data that no decoder of a protocol above TCP, UDP or Ethernet took."""
        return self._undecoded + (self.beside.counters["undecoded"] if self.beside else 0)

    def __iter__(self) -> Iterator[MessageBatch]:
        for file in self.files:
            yield from self._file(file) if isinstance(file, CaptureFile) else self._live(file)
            self._done += file.size
        self._tell_counters()
        self._report(0, 1.0)

    def _file(self, file: FrameSource) -> Iterator[MessageBatch]:
        foreign = self._foreign(file)
        try:
            for frames in self._pieces(file):
                if not len(frames):
                    yield MessageBatch.empty(frames.clock, frames.lost_after)
                    self._report(file.position, 1.0)
                    continue
                native = self._decode(frames)
                rows, foreign = self._rows_upto(foreign, int(frames.number[-1]))
                unclaimed = frames.number[self.native.open]
                merged = self._merge(native, rows)
                self._count_undecoded(unclaimed, merged)
                self._report(file.position, 0.5 if foreign is None else 0.75)
                yield merged
        finally:
            if foreign:
                foreign.close()
            for note in file.notes:
                self._note(note)

    def _live(self, source: FrameSource) -> Iterator[MessageBatch]:
        """Native rows as frames come; between them the late rows of tshark, if it runs beside."""
        if self.engine == "auto":
            self._start_beside()
        try:
            for frames in self._pieces(source):
                yield self._native_batch(frames)
                self._report(source.position, 1.0)
                clock = int(frames.ts.max()) if len(frames) else frames.clock
                yield from _late(self.beside.collect(clock) if self.beside else None)
            yield from _late(self.beside.finish() if self.beside else None)
        finally:
            if self.beside:
                self.beside.close()
                self.notes += self.beside.notes()
            for note in source.notes:
                self._note(note)

    def _native_batch(self, frames: FrameBatch) -> MessageBatch:
        if not len(frames):
            return MessageBatch.empty(frames.clock, frames.lost_after)
        native = self._decode(frames)
        if self.beside is None:
            self._undecoded += int(self.native.open.sum())
            return native
        unclaimed = self.native.unclaimed
        messages, points = self.beside.give(
            frames.take(unclaimed), self.native.open[unclaimed], (native.messages, native.points)
        )
        return replace(native, messages=messages, points=points)

    def _pieces(self, source: FrameSource) -> Iterator[FrameBatch]:
        """Batches of a source, cut smaller while the traffic is dense."""
        for frames in source.batches(max_frames=self.batch):
            step = DENSE if self._dense else self.batch
            last = len(frames) - step
            for first in range(0, last, step):
                yield frames.take(slice(first, first + step))
            yield frames if last <= 0 else _rest(frames, -(-last // step) * step)

    def _decode(self, frames: FrameBatch) -> MessageBatch:
        native = self.native.decode(frames)
        self._dense = len(native.messages) > DENSITY * len(frames)
        self._clock(frames.ts)
        return native

    def _start_beside(self) -> None:
        from sensor.capture.tshark_process import find_tshark
        from sensor.side.beside import Beside

        if find_tshark() is None:
            self._note(LIVE_NOTE)
            return
        self.beside = Beside(self.names, self._profiles, self.farewell)
        self.beside.start()

    def _tell_counters(self) -> None:
        """What limits the view, said once at the end."""
        counters = self.native.counters
        told = sum(file.dropped for file in self.files if isinstance(file, CaptureFile))
        if told:
            self._note(f"the program that captured lost {told:,} frames, its files say")
        if counters["copies"]:
            self._note(
                f"{counters['copies']:,} frames were copies of the frame before, as two mirrored ports give "
                "them; they were not decoded (--copies keep decodes them)"
            )
        if counters["unseen"]:
            self._note(
                f"receivers acknowledged {counters['unseen']:,} frames or more that the capture lacks: a "
                "mirror port or tap that loses frames, or somebody who takes them away"
            )
        if counters["backwards"]:
            self._note(
                f"{counters['backwards']:,} frames have an earlier time than one before them: a capture over "
                "several queues, joined files, or a clock that was set back"
            )

    def warm_up(self) -> None:
        """Load the decoders before frames wait for them."""
        self.native.decode(no_frames())

    def _rows_upto(self, foreign: _Foreign | None, number: int) -> tuple[Rows | None, _Foreign | None]:
        """tshark's rows; with ``auto``, its failure costs its rows and is told, nothing else."""
        if foreign is None:
            return None, None
        try:
            return foreign.upto(number), foreign
        except MissingToolError as error:
            if self.engine != "auto":
                raise
            self._note(f"tshark gave up, its protocols are not decoded from here on: {error}")
            foreign.close()
            return None, None

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _clock(self, ts: npt.NDArray[np.int64]) -> None:
        if len(ts):
            first = int(ts.min())
            self.first = first if self.first is None else min(self.first, first)
            self.last = max(self.last, int(ts.max()))

    def _report(self, position: int, weight: float) -> None:
        if self.on_progress:
            fraction = (self._done + position) / self._total if position else self._done / self._total
            self.on_progress(min(1.0, fraction))

    def _foreign(self, file: FrameSource) -> _Foreign | None:
        if self.engine == "native" or not isinstance(file, CaptureFile):
            return None
        from sensor.hybrid import TsharkRows  # pyshark is slow to import and often not needed

        try:
            return TsharkRows.open(
                file, self.names, everything=self.engine == "tshark", batch=self.batch, copies=self.copies
            )
        except MissingToolError as error:
            if self.engine != "auto":
                raise
            self._note(f"only native decoders: {error}")
            return None

    def _merge(self, native: MessageBatch, rows: Rows | None) -> MessageBatch:
        messages, points = native.messages, native.points
        if self.engine == "tshark":
            own = ~np.isin(messages["proto"], self._decoded_natively)
            messages, points = select(messages, points, own)
        if rows is None or len(rows[0]) == 0:
            return replace(native, messages=messages, points=points)
        generic = np.isin(messages["proto"], (UDP, IP, ETHERNET))
        keep = ~(generic & np.isin(messages["frame"], rows[0]["frame"]))
        messages, points = select(messages, points, keep)
        messages, points = interleave((messages, points), rows)
        return replace(native, messages=messages, points=points)

    def _count_undecoded(self, unclaimed: npt.NDArray[np.int64], merged: MessageBatch) -> None:
        """Frames that stay without a row of their own protocol."""
        generic = merged.messages["proto"] <= ETHERNET
        decoded = merged.messages["frame"][~generic]
        self._undecoded += int((~np.isin(unclaimed, decoded)).sum())


def _late(rows: Rows | None) -> Iterator[MessageBatch]:
    if rows is not None:
        yield MessageBatch(*rows, late=True)


def open_engine(
    paths: Sequence[str | Path],
    engine: str = "auto",
    profiles: Sequence[Path] = (),
    batch: int = BATCH,
    limits: Limits | None = None,
    copies: str = "auto",
) -> Decoded:
    """Open captures for decoding.

    Parameters
    ----------
    paths : sequence of str or Path
        Files, folders, globs; ``-`` for standard input.
    engine : {"auto", "native", "tshark"}
    profiles : sequence of Path
        More folders with profiles.
    batch : int
        Frames per batch; changes speed, never a result.
    copies : {"auto", "keep", "drop"}
        As in :class:`~sensor.native.NativeEngine`.

    Raises
    ------
    UsageError, CaptureError
    """
    if engine not in ENGINES:
        raise UsageError(f"no engine {engine!r}; choose one of {', '.join(ENGINES)}")
    files = open_sources([str(path) for path in paths])
    return Decoded(files, load_registry(profiles), engine, batch, limits, copies)


def open_live(
    settings: LiveSettings,
    engine: str = "auto",
    profiles: Sequence[Path] = (),
    on_event: Callable[[str], None] | None = None,
    copies: str = "auto",
) -> Decoded:
    """Open a live interface for decoding; ``stop`` of what is returned ends it.

    Parameters
    ----------
    settings : LiveSettings
    engine : {"auto", "native", "tshark"}
        ``auto``: the native engine, and tshark beside it.
    profiles : sequence of Path
        More folders with profiles.
    on_event : callable, optional
        Told in words what happens to the interface.
    copies : {"auto", "keep", "drop"}
        As in :class:`~sensor.native.NativeEngine`.

    Raises
    ------
    UsageError, InterfaceError, MissingToolError
    """
    registry = load_registry(profiles)
    if engine == "tshark":
        from sensor.capture.dumpcap import DumpcapCapture

        recorded = DumpcapCapture(settings, on_event)
        decoded = Decoded([recorded], registry, engine, copies=copies)
        decoded.stop = recorded.stop
        return decoded
    if engine not in ENGINES:
        raise UsageError(f"no engine {engine!r}; choose one of {', '.join(ENGINES)}")
    live = LiveCapture(settings)
    live.on_event = on_event
    decoded = Decoded([live], registry, engine, copies=copies, profiles=profiles)
    decoded.stop = live.stop
    decoded.warm_up()
    return decoded

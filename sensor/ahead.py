"""Decoding in a thread of its own, a little ahead of those who judge what was decoded.

The kernels and most of numpy run without Python's lock, so that on a second core decoding and judging go on
at once. What comes out, and its order, are the same. With one core nothing is gained and nothing is done.

Whoever gives names of the run (``Names.intern_...``) must do so in the iterator that is read ahead: tables of
names have one writer. Reading them is free, as an entry never changes once its number is handed out.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from typing import Final, Generic, TypeVar

T = TypeVar("T")

ROOM: Final = 2
"""Items that wait, each of some MiB: enough for the two to hardly ever wait for each other."""

PATIENCE: Final = 1.0
"""Seconds that an interrupted run waits for the thread; longer it may wait for another program's output."""


def ahead(items: Iterable[T], cores: int | None = None) -> Iterator[T]:
    """The same items, made in another thread where there are two cores or more.

    Parameters
    ----------
    items : iterable
        Iterated in that thread; what it raises is raised here, behind the items before it.
    cores : int, optional
        Instead of those that this process may use.
    """
    usable = len(os.sched_getaffinity(0)) if cores is None else cores
    if usable < 2:
        yield from items
        return
    reader = _Reader(items)
    try:
        yield from reader.items()
    finally:
        reader.stop()


class _End:
    """Behind the last item; with what ended it too early."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class _Reader(Generic[T]):
    """The thread and what it has made."""

    def __init__(self, items: Iterable[T]) -> None:
        self._source = items
        self._made: queue.Queue[T | _End] = queue.Queue(ROOM)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._read, name="decoding", daemon=True)
        self._thread.start()

    def items(self) -> Iterator[T]:
        while True:
            item = self._made.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item

    def stop(self) -> None:
        """End the thread behind the item that it is making."""
        self._stopped.set()
        until = time.monotonic() + PATIENCE
        while self._thread.is_alive() and time.monotonic() < until:
            while not self._made.empty():
                self._made.get_nowait()  # it may wait for room
            self._thread.join(0.01)

    def _read(self) -> None:
        end = _End()
        items = iter(self._source)
        try:
            for item in items:
                self._made.put(item)
                if self._stopped.is_set():
                    break
        except BaseException as error:  # whatever it is, it is for whoever reads the items
            end = _End(error)
        finally:
            if isinstance(items, Generator):
                items.close()  # here, where it ran
            if not self._stopped.is_set():
                self._made.put(end)

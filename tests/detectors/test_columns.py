"""Sorting, joining and remembering by column, against the plain way of each."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.groups import FEW_ROWS, order_of
from detectors.rules.common import Message, Recent
from grid_profiles.vocabulary import MESSAGE, POINT
from sensor.messages import copied, joined

LIMIT = 50


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64])
@pytest.mark.parametrize("rows", [0, 1, FEW_ROWS - 1, FEW_ROWS, 5_000])
def test_order_is_that_of_a_stable_sort(dtype: type, rows: int) -> None:
    spread = np.random.default_rng(rows)
    for high in (2, 100, np.iinfo(dtype).max):
        keys = spread.integers(-high, high, rows, dtype)
        assert np.array_equal(order_of(keys), np.argsort(keys, kind="stable"))


def test_order_of_keys_that_leave_no_room_for_a_row_number() -> None:
    ends = np.iinfo(np.int64)
    for odd in (ends.max, ends.min, 1 << 55, -(1 << 55)):
        keys = np.random.default_rng(1).integers(0, 9, 1_000)
        keys[[3, 500, 501]] = odd
        assert np.array_equal(order_of(keys), np.argsort(keys, kind="stable"))


class Plain:
    """:class:`Recent` a key at a time."""

    def __init__(self) -> None:
        self.entries: dict[int, int] = {}
        self.evicted = 0

    def first(self, keys: list[int], numbers: list[int]) -> list[int]:
        had = []
        for key, number in zip(keys, numbers, strict=True):
            had.append(self.entries.get(key, -1))
            self.entries.setdefault(key, number)
        while len(self.entries) > LIMIT:
            del self.entries[next(iter(self.entries))]
            self.evicted += 1
        return had


@pytest.mark.parametrize("climbs", [0, 1, 7])
def test_recent_remembers_like_a_dictionary(climbs: int) -> None:
    random, recent, plain = np.random.default_rng(climbs), Recent(LIMIT), Plain()
    for turn in range(300):
        keys = random.integers(0, 40, random.integers(0, 30)) + climbs * turn
        numbers = random.integers(0, 1_000, len(keys))
        had = recent.first(keys, numbers)
        assert had.tolist() == plain.first(keys.tolist(), numbers.tolist())
    assert recent.evicted == plain.evicted
    assert plain.evicted or not climbs


def test_records_copied_and_joined_keep_every_octet() -> None:
    random = np.random.default_rng(3)
    for layout in (MESSAGE, POINT):
        rows = random.integers(0, 256, 40 * layout.itemsize, np.uint8).view(layout)
        copy = copied(rows[5:30])
        assert copy.tobytes() == rows[5:30].tobytes()
        assert not np.shares_memory(copy, rows)
        assert joined([rows[:7], rows[7:7], rows[7:]]).tobytes() == rows.tobytes()
        assert not np.shares_memory(joined([rows]), rows)


def test_a_message_has_the_columns_of_a_row() -> None:
    row = np.zeros(1, MESSAGE)
    for number, name in enumerate(MESSAGE.names or ()):
        row[name] = number
    message = Message(*row.tolist()[0])
    assert message._fields == MESSAGE.names
    assert message == tuple(range(len(message)))

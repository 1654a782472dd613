"""Numbers for keys: each key is asked for once, in any mixture, and what is remembered is bounded."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.lookup import Lookup


@pytest.mark.parametrize("seed", range(5))
def test_like_a_dictionary(seed: int) -> None:
    random = np.random.default_rng(seed)
    asked: list[int] = []

    def give(key: int) -> int:
        asked.append(key)
        return key * 3 - 1

    lookup = Lookup(give, 1_000)
    for _ in range(20):
        keys = random.integers(-50, 50, random.integers(0, 30)) << int(random.integers(0, 50))
        assert lookup.of(keys).tolist() == [key * 3 - 1 for key in keys.tolist()]
    assert len(asked) == len(set(asked))


def test_it_forgets_when_it_is_full_and_asks_again() -> None:
    asked: list[int] = []

    def give(key: int) -> int:
        asked.append(key)
        return key

    lookup = Lookup(give, 10)
    for begin in (0, 6, 0):
        keys = np.arange(begin, begin + 6)
        assert lookup.of(keys).tolist() == keys.tolist()
    assert lookup.forgotten == 2
    assert asked.count(0) == 2
    many = np.arange(100)
    assert lookup.of(many).tolist() == many.tolist()  # more at once than it may keep: right all the same


def test_more_keys_than_slots() -> None:
    random = np.random.default_rng(7)
    lookup = Lookup(lambda key: key ^ 5, 200_000)
    keys = random.integers(-(1 << 62), 1 << 62, 100_000)
    for _ in range(3):
        some = random.choice(keys, 50_000)
        assert np.array_equal(lookup.of(some), some ^ 5)


def test_keys_of_one_slot_do_not_pass_for_each_other() -> None:
    lookup = Lookup(lambda key: key + 1, 1_000)
    slots = lookup._slots(np.arange(10_000))
    same = np.flatnonzero(slots == slots[0])
    assert len(same) > 10
    assert lookup.of(same[:1]).tolist() == [int(same[0]) + 1]
    for _ in range(2):
        assert np.array_equal(lookup.of(same), same + 1)

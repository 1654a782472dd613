"""Rows of numbers kept for plots."""

from __future__ import annotations

import math

from sensor.history import History


def test_rows_come_back_by_key_in_the_order_in_which_they_came() -> None:
    history: History[str] = History(2, 10)
    for key, at, value in (("b", 1.0, 5.0), ("a", 1.0, 6.0), ("b", 2.0, 7.0)):
        history.add(key, at, value)
    assert {key: rows.tolist() for key, rows in history.by_key().items()} == {
        "b": [[1.0, 2.0], [5.0, 7.0]],
        "a": [[1.0], [6.0]],
    }
    assert list(history.by_key()) == ["b", "a"]
    assert history.columns().tolist() == [[1.0, 1.0, 2.0], [5.0, 6.0, 7.0]]


def test_what_is_too_much_is_counted_and_what_came_first_stays() -> None:
    history: History[int] = History(1, 3)
    for number in range(5):
        history.add(number % 2, float(number))
    assert (len(history), history.left_out) == (3, 2)
    assert history.columns().tolist() == [[0.0, 1.0, 2.0]]


def test_nothing_kept_is_an_empty_table() -> None:
    history: History[str] = History(3, 3)
    assert history.columns().shape == (3, 0)
    assert history.by_key() == {}


def test_two_are_equal_by_their_rows() -> None:
    def made(value: float, key: str = "a") -> History[str]:
        history: History[str] = History(2, 3)
        history.add(key, 1.0, value)
        return history

    assert made(math.nan) == made(math.nan)
    assert made(1.0) != made(2.0)
    assert made(1.0) != made(1.0, "b")
    assert made(1.0) != [1.0]

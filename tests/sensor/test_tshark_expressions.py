"""Expressions of profiles as functions: numbers, texts, conditions; and filters told from presence."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grid_profiles.schema import Expression, Term
from sensor.capture.expressions import Compiler, number_of, read_octets, word_of
from sensor.capture.tshark_filter import parse_presence
from sensor.capture.tshark_tree import Items, Tree

COMPILER = Compiler(frozenset({"answer.to"}), lambda number: number + 1000)


def fields(**shown: str) -> Tree:
    """A message whose fields (dots written as two underscores) hold one shown text each."""
    items: Items = {name.replace("__", "."): [(text, "")] for name, text in shown.items()}
    return Tree(items, frozenset())


def number(term: Term, view: Tree) -> float | int | None:
    return COMPILER.number((Expression(terms=(term,)),))(view)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("17", 17),
        ("-5", -5),
        ("0x1F", 31),
        ("True", 1),
        ("False", 0),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("Apr 24, 2015 23:49:10.500000000 UTC", 1429919350.5),
        ("", None),
        ("1_0", None),
        (" 1", None),
        ("٣", None),
        ("9" * 41, 1e41),
        ("0x", None),
        ("10.0.0.1", None),
        ("Feb 31, 2015 23:49:10 UTC", None),
    ],
)
def test_numbers_that_tshark_shows(text: str, expected: float | None) -> None:
    found = number_of(text)
    assert found == (pytest.approx(expected) if isinstance(expected, float) else expected)


@given(st.text())
def test_any_text_is_a_number_or_none(text: str) -> None:
    found = number_of(text)
    assert found is None or isinstance(found, int | float)
    assert isinstance(word_of(text), str)


@given(st.integers(-(2**63), 2**64))
def test_an_integer_is_itself_in_decimal_and_hexadecimal(whole: int) -> None:
    assert number_of(str(whole)) == whole
    assert whole < 0 or number_of(hex(whole)) == whole


@given(
    st.integers(0, 2**64 - 1),
    st.integers(0, 70),
    st.integers(0, 2**32),
    st.integers(-9, 9),
    st.integers(-9, 9),
)
def test_a_term_is_shifted_masked_multiplied_and_added(
    whole: int, shift: int, mask: int, times: int, plus: int
) -> None:
    term = Term("a.b", shift=shift, mask=mask, times=times, plus=plus)
    assert number(term, fields(a__b=str(whole))) == ((whole >> shift) & mask) * times + plus


@given(st.binary(max_size=20))
def test_octets_are_read_in_either_order(octets: bytes) -> None:
    for read, order in (("unsigned", "big"), ("unsigned_le", "little")):
        expected = int.from_bytes(octets, order) if octets else None  # type: ignore[arg-type]
        assert read_octets(octets, read) == expected
    if len(octets) not in (4, 8):
        assert read_octets(octets, "float") is None


@given(st.floats(width=32))
def test_floats_come_from_their_octets(value: float) -> None:
    for read, code in (("float", ">f"), ("float_le", "<f")):
        found = read_octets(struct.pack(code, value), read)
        assert found == value or (math.isnan(value) and found is not None and math.isnan(found))


def test_a_map_a_constant_and_equals_choose() -> None:
    assert number(Term("a", map={"3": 4}), fields(a="0x03")) == 4
    assert number(Term("a", map={"3": 4}), fields(a="5")) is None
    assert number(Term("a", map={"on": 1}), fields(a="on")) == 1
    assert number(Term("a", constant=7), fields(a="anything")) == 7
    assert number(Term("a", constant=7), fields(b="1")) is None
    assert number(Term("a", equals=("256",)), fields(a="0x0100")) == 256
    assert number(Term("a", equals=("1",)), fields(a="2")) is None


def test_occurrences_count_from_both_ends() -> None:
    view = Tree({"a": [("1", ""), ("2", ""), ("3", "")]}, frozenset())
    assert [number(Term("a", nth=nth), view) for nth in (0, 1, -1, 3)] == [1, 2, 3, None]


def test_texts_take_each_its_own_occurrence() -> None:
    view = Tree({"a": [("1", ""), ("2", "")], "b": [("x", ""), ("y", "")]}, frozenset())
    told = [COMPILER.text((Expression(text=("a", "b"), nth=nth),))(view) for nth in ((0,), (-1,), (-1, 0))]
    assert told == ["1/x", "2/y", "2/x"]


def test_a_frame_number_of_tshark_becomes_ours() -> None:
    assert number(Term("answer.to"), fields(answer__to="5")) == 1005


def test_the_first_alternative_that_holds_wins() -> None:
    column = COMPILER.number(
        (
            Expression(terms=(Term("a"), Term("b", times=256)), plus=1),
            Expression(terms=(Term("b"),), when={"c": ("2", "3")}),
            Expression(terms=(Term("b", plus=100),), unless=("d",)),
        )
    )
    assert column(fields(a="1", b="2")) == 1 + 512 + 1
    assert column(fields(b="2", c="0x3")) == 2
    assert column(fields(b="2", c="9")) == 102
    assert column(fields(b="2", d="1")) is None


def test_texts_are_joined_whole_or_not_at_all() -> None:
    column = COMPILER.text((Expression(text=("a", "b"), join="/", prefix="x "),))
    assert column(fields(a="LD0", b="LLN0")) == "x LD0/LLN0"
    assert column(fields(a="LD0")) is None


def test_a_flag_with_a_mask_asks_for_its_bits() -> None:
    present = COMPILER.holds((Expression(terms=(Term("a"),)),))
    bit = COMPILER.holds((Expression(terms=(Term("a", mask=4),)),))
    assert present(fields(a="0"))
    assert [bit(fields(a=text)) for text in ("3", "4", "x")] == [False, True, False]


@given(st.floats(allow_nan=False), st.integers(0, 8))
def test_bits_of_no_integer_are_absent(value: float, shift: int) -> None:
    found = number(Term("a", shift=shift, mask=1), fields(a=repr(value)))
    assert found is None or isinstance(number_of(repr(value)), int)


@pytest.mark.parametrize(
    ("text", "have", "expected"),
    [
        ("modbus", {"modbus"}, True),
        ("pn_rt && !pn_dcp", {"pn_rt", "pn_dcp"}, False),
        ("pn_rt && !pn_dcp", {"pn_rt"}, True),
        ("cotp and not (mms or s7comm)", {"cotp", "s7comm"}, False),
        ("bvlc || bacnet", {"bacnet"}, True),
        ("a || b && c", {"a"}, True),
        ("!a", set(), True),
    ],
)
def test_filters_over_presence(text: str, have: set[str], expected: bool) -> None:
    presence = parse_presence(text)
    assert presence is not None
    assert presence.holds(have) is expected


@pytest.mark.parametrize(
    "text", ["tcp.port == 5", "", "a &&", "(a", "a)", "a b", "a contains b", "frame[0]", "!", "5", "(" * 99]
)
def test_other_filters_are_left_to_tshark(text: str) -> None:
    assert parse_presence(text) is None


@given(st.text(alphabet="ab!&|() .=", max_size=40))
def test_any_filter_is_told_or_refused(text: str) -> None:
    presence = parse_presence(text)
    assert presence is None or presence.holds(set()) in (True, False)

"""A profile's expressions made into functions over the fields of one message.

The functions take a :class:`Fields` view and give a number, a text or None ("this alternative does not
hold"). They never raise on what came from the wire: text that is no number makes its term absent. A view may
raise :class:`Unclear` when it cannot tell; the caller then asks a better view.

Refuses nothing a checked profile can say (``grid_profiles.schema.Term`` and ``Expression``).
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from itertools import cycle
from typing import Any, Final, Protocol

from grid_profiles.schema import Alternatives, Expression, Term

MAX_TEXT: Final = 512
"""Characters of one text that are kept; names of objects are shorter in every protocol."""

_DECIMAL: Final = re.compile(r"[+-]?[0-9]{1,40}\Z")
_HEXADECIMAL: Final = re.compile(r"0[xX][0-9A-Fa-f]{1,64}\Z")
_REAL: Final = re.compile(r"[+-]?([0-9]{1,400}(\.[0-9]{0,400})?|\.[0-9]{1,400})([eE][+-]?[0-9]{1,4})?\Z")
_TIME: Final = re.compile(r"([A-Z][a-z]{2} [ 0-9][0-9], [0-9]{4} [0-9:]{8})(\.[0-9]{1,9})? UTC\Z")
_WORDS: Final[Mapping[str, int | float]] = {
    "True": 1,
    "False": 0,
    "nan": math.nan,
    "inf": math.inf,
    "-inf": -math.inf,
}

Number = int | float
Numeric = Callable[["Fields"], "Number | None"]
Textual = Callable[["Fields"], "str | None"]
Condition = Callable[["Fields"], bool]


class Unclear(Exception):
    """This view cannot say which occurrence belongs where; the frame needs the tree."""


class Fields(Protocol):
    """What one message carries, by tshark field name; ``nth`` counts occurrences, -1 is the last."""

    def has(self, name: str) -> bool: ...
    def shown(self, name: str, nth: int) -> str | None: ...
    def text(self, name: str, nth: int) -> str | None: ...
    def octets(self, name: str, nth: int) -> bytes | None: ...


@lru_cache(maxsize=1 << 16)
def number_of(text: str) -> Number | None:
    """Number behind what tshark shows: decimal, 0x, True/False, float, absolute time as epoch seconds."""
    if _DECIMAL.match(text):
        return int(text)
    if _HEXADECIMAL.match(text):
        return int(text, 16)
    if _REAL.match(text):
        return float(text)
    known = _WORDS.get(text)
    return known if known is not None else _epoch(text)


def _epoch(text: str) -> float | None:
    found = _TIME.match(text)
    if not found:
        return None
    try:
        moment = datetime.strptime(found[1], "%b %d, %Y %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None
    return moment.timestamp() + float(found[2] or 0)


@lru_cache(maxsize=1 << 16)
def word_of(text: str) -> str:
    """What ``equals``, ``map`` and ``when`` compare: an integer in decimal, anything else as it is."""
    number = number_of(text)
    return str(number) if isinstance(number, int) else text


def read_octets(octets: bytes, read: str) -> Number | None:
    """A number from octets, by one of ``grid_profiles.schema.READINGS``; None for lengths it does not fit."""
    order = "little" if read.endswith("_le") else "big"
    kind = read.removesuffix("_le")
    if not octets:
        return None
    if kind == "float":
        code = {4: "f", 8: "d"}.get(len(octets))
        number = struct.unpack(("<" if order == "little" else ">") + code, octets)[0] if code else None
        return None if number is None else float(number)
    return int.from_bytes(octets, order, signed=kind == "signed")  # type: ignore[arg-type]


class Compiler:
    """Makes functions of expressions.

    Parameters
    ----------
    frame_fields : set of str
        Fields that hold a frame number of tshark.
    renumber : callable
        Frame number of ours for one of tshark's; -1 unknown.
    """

    def __init__(self, frame_fields: frozenset[str], renumber: Callable[[int], int]) -> None:
        self._frame_fields = frame_fields
        self._renumber = renumber

    def number(self, alternatives: Alternatives) -> Numeric:
        """The first alternative that gives a number; texts among them are left out."""
        return _first([self._numeric(one) for one in alternatives if one.terms])

    def text(self, alternatives: Alternatives) -> Textual:
        """The first alternative that gives a text; numbers among them are left out."""
        return _first([self._textual(one) for one in alternatives if one.text])

    def holds(self, alternatives: Alternatives) -> Condition:
        """Whether one of the alternatives holds; with a mask in it, its number must differ from 0 too."""
        functions = [self._holds(one) for one in alternatives]

        def condition(fields: Fields) -> bool:
            return any(function(fields) for function in functions)

        return condition

    def _holds(self, expression: Expression) -> Condition:
        function: Callable[[Fields], Any] = (
            self._numeric(expression) if expression.terms else self._textual(expression)
        )
        if any(term.mask is not None for term in expression.terms):
            return lambda fields: bool(function(fields))
        return lambda fields: function(fields) is not None

    def _numeric(self, expression: Expression) -> Numeric:
        terms = [self._term(term) for term in expression.terms]
        total = terms[0] if len(terms) == 1 and not expression.plus else _sum(terms, expression.plus)
        return _guarded(expression, total)

    def _textual(self, expression: Expression) -> Textual:
        join, prefix = expression.join, expression.prefix
        wanted = tuple(zip(expression.text, cycle(expression.nth)))

        def joined(fields: Fields) -> str | None:
            texts = []
            for name, nth in wanted:
                text = fields.text(name, nth)
                if text is None:
                    return None
                texts.append(text)
            return (prefix + join.join(texts))[:MAX_TEXT]

        return _guarded(expression, joined)

    def _term(self, term: Term) -> Numeric:
        read = self._reader(term)
        if term.shift or term.mask is not None or term.times != 1 or term.plus or term.scale != 1.0:
            return _affine(term, read)
        return read

    def _reader(self, term: Term) -> Numeric:
        name, nth = term.field, term.nth
        plain = not term.equals and term.map is None and term.constant is None
        if term.read != "shown":
            number = _octet_reader(name, nth, term.read)
            return number if plain else _chosen(term, _as_words(number), number)

        def shown(fields: Fields) -> str | None:
            return fields.shown(name, nth)

        if name in self._frame_fields:
            return self._frame_reader(name, nth)

        def number_shown(fields: Fields) -> Number | None:
            text = fields.shown(name, nth)
            return None if text is None or len(text) > MAX_TEXT else number_of(text)

        return number_shown if plain else _chosen(term, shown, number_shown)

    def _frame_reader(self, name: str, nth: int) -> Numeric:
        renumber = self._renumber

        def frame(fields: Fields) -> Number | None:
            text = fields.shown(name, nth)
            number = None if text is None else number_of(text)
            return renumber(number) if isinstance(number, int) else None

        return frame


def _first(functions: list[Callable[[Fields], Any]]) -> Callable[[Fields], Any]:
    if len(functions) == 1:
        return functions[0]

    def first(fields: Fields) -> Any:
        for function in functions:
            result = function(fields)
            if result is not None:
                return result
        return None

    return first


def _sum(terms: list[Numeric], plus: int) -> Numeric:
    def total(fields: Fields) -> Number | None:
        result: Number = plus
        for term in terms:
            number = term(fields)
            if number is None:
                return None
            result += number
        return result

    return total


def _guarded(expression: Expression, function: Callable[[Fields], Any]) -> Callable[[Fields], Any]:
    """The function under the expression's ``when`` and ``unless``."""
    if not expression.when and not expression.unless:
        return function
    when = [(name, frozenset(texts)) for name, texts in expression.when.items()]
    unless = expression.unless

    def guarded(fields: Fields) -> Any:
        for name in unless:
            if fields.has(name):
                return None
        for name, texts in when:
            text = fields.shown(name, 0)
            if text is None or (texts and word_of(text) not in texts):
                return None
        return function(fields)

    return guarded


def _octet_reader(name: str, nth: int, read: str) -> Numeric:
    def number(fields: Fields) -> Number | None:
        octets = fields.octets(name, nth)
        return None if octets is None else read_octets(octets, read)

    return number


def _as_words(number: Numeric) -> Textual:
    def word(fields: Fields) -> str | None:
        result = number(fields)
        return None if result is None else str(result)

    return word


def _chosen(term: Term, shown: Textual, number: Numeric) -> Numeric:
    """``equals``, then ``map`` or ``constant``."""
    allowed, mapping, constant = frozenset(term.equals), term.map, term.constant

    def chosen(fields: Fields) -> Number | None:
        text = shown(fields)
        if text is None:
            return None
        word = word_of(text)
        if allowed and word not in allowed:
            return None
        if mapping is not None:
            return mapping.get(word)
        return constant if constant is not None else number(fields)

    return chosen


def _affine(term: Term, read: Numeric) -> Numeric:
    """``((number >> shift) & mask) * times + plus``, then ``* scale``; bits only of an integer."""
    shift, mask, times, plus, scale = term.shift, term.mask, term.times, term.plus, term.scale
    bits = bool(shift) or mask is not None

    def affine(fields: Fields) -> Number | None:
        number = read(fields)
        if number is None:
            return None
        if bits:
            if not isinstance(number, int):
                return None
            number = number >> shift if mask is None else (number >> shift) & mask
        number = number * times + plus
        return number if scale == 1.0 else _scaled(number, scale)

    return affine


def _scaled(number: Number, scale: float) -> float | None:
    try:
        return number * scale
    except OverflowError:
        return None

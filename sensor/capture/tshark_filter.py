"""Whether a profile's display filter matches, told from which fields a frame has.

Reads the filters that profiles use: names of protocols and fields (present or not) with ``&&``, ``||``,
``!``, ``and``, ``or``, ``not`` and parentheses. Everything else (comparisons, functions, slices) gives None
from :func:`parse_presence`; such a filter has to be asked of tshark itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Final

MAX_DEPTH: Final = 32
_TOKEN: Final = re.compile(r"\s*(?:(&&|\|\||!|\(|\))|([A-Za-z_][A-Za-z0-9_.\-]*))")
_WORDS: Final = {"and": "&&", "or": "||", "not": "!"}

Holds = Callable[[Container[str]], bool]


@dataclass(frozen=True, slots=True)
class Presence:
    """A filter over presence.

    Attributes
    ----------
    names : frozenset of str
        Every protocol and field it asks for.
    holds : callable
        Takes the names that a frame has.
    """

    names: frozenset[str]
    holds: Holds


class _NotPresence(Exception):
    pass


def parse_presence(text: str) -> Presence | None:
    """The filter as a function of presence; None when it asks for more."""
    try:
        tokens = _tokens(text)
        holds, rest = _either(tokens, 0)
    except _NotPresence:
        return None
    if rest:
        return None
    return Presence(frozenset(token for token in tokens if token not in _SIGNS), holds)


_SIGNS: Final = frozenset(("&&", "||", "!", "(", ")"))


def _tokens(text: str) -> list[str]:
    tokens, at, text = [], 0, text.rstrip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if not found:
            raise _NotPresence
        tokens.append(found[1] or _WORDS.get(found[2], found[2]))
        at = found.end()
    return tokens


def _either(tokens: list[str], depth: int) -> tuple[Holds, list[str]]:
    holds, tokens = _both(tokens, depth)
    parts = [holds]
    while tokens[:1] == ["||"]:
        holds, tokens = _both(tokens[1:], depth)
        parts.append(holds)
    return (parts[0] if len(parts) == 1 else lambda have: any(part(have) for part in parts)), tokens


def _both(tokens: list[str], depth: int) -> tuple[Holds, list[str]]:
    holds, tokens = _one(tokens, depth)
    parts = [holds]
    while tokens[:1] == ["&&"]:
        holds, tokens = _one(tokens[1:], depth)
        parts.append(holds)
    return (parts[0] if len(parts) == 1 else lambda have: all(part(have) for part in parts)), tokens


def _one(tokens: list[str], depth: int) -> tuple[Holds, list[str]]:
    if not tokens or depth > MAX_DEPTH:
        raise _NotPresence
    head, rest = tokens[0], tokens[1:]
    if head == "!":
        inner, rest = _one(rest, depth + 1)
        return (lambda have: not inner(have)), rest
    if head == "(":
        inner, rest = _either(rest, depth + 1)
        if rest[:1] != [")"]:
            raise _NotPresence
        return inner, rest[1:]
    if head in _SIGNS:
        raise _NotPresence
    return (lambda have: head in have), rest

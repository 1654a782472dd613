"""Reads the catalogue of explanations: families and deciding fields per rule, and texts per language.

A text is looked up under the rule, then its family, then the family ``unknown``, so that a family's wording
serves every rule that has nothing better to say, and every alert can be explained, also of a rule that the
catalogue does not know (of a newer sensor, say).
"""

from __future__ import annotations

import string
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any, Final

LANGUAGES: Final = ("en", "zh_CN")
DEFAULT: Final = "en"
PACKAGE: Final = "detectors.explain"
RULES: Final = "rules.toml"
UNKNOWN: Final = "unknown"
LONGEST: Final = 160
"""Characters of one value that is put into a sentence."""

PLACEHOLDERS: Final = ("src", "dst", "protocol", "kind", "point")
"""What a sentence about a rule may name."""

Text = str | tuple[str, ...]


class CatalogueError(Exception):
    """The catalogue contradicts itself; a mistake of ours, found by the tests."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What the catalogue says of one rule apart from its texts.

    Attributes
    ----------
    rule, family : str
    fields : tuple of str
        tshark's names of the fields that decide; ``@message`` stands for those of the protocol.
    """

    rule: str
    family: str
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Every text of one language, by key, and the entries of all rules.

    Attributes
    ----------
    language : str
    texts : mapping of str to str or tuple of str
        ``rule.goose-replay.check``, ``family.scan.why``, ``ui.expected`` ...
    entries : mapping of str to Entry
        By rule.
    protocols : mapping of str to tuple of str
        Deciding fields of a message, by protocol.
    """

    language: str
    texts: Mapping[str, Text]
    entries: Mapping[str, Entry]
    protocols: Mapping[str, tuple[str, ...]]

    def entry(self, rule: str) -> Entry:
        """What is known of a rule; the family ``unknown`` for one that has no entry."""
        return self.entries.get(rule) or Entry(rule, UNKNOWN, ("@message",))

    def fields(self, rule: str, protocol: str) -> tuple[str, ...]:
        """tshark's names of the fields that decide in an alert of this rule and protocol."""
        found: dict[str, None] = {}
        for name in self.entry(rule).fields:
            names = self.protocols.get(protocol, ()) if name == "@message" else (name,)
            found |= dict.fromkeys(names)
        return tuple(found)

    def say(self, key: str, /, **values: object) -> str:
        """A text of the frame around the explanation; KeyError when there is none."""
        text = self.texts[key]
        assert isinstance(text, str)
        return text.format(**values) if values else text

    def maybe(self, key: str) -> str:
        """A text, "" when there is none."""
        text = self.texts.get(key, "")
        return text if isinstance(text, str) else ""

    def about(self, rule: str, part: str, values: Mapping[str, str]) -> str:
        """One sentence about a rule, its own or its family's, with the names of the alert put in."""
        text = self._found(rule, part)
        return self._filled(text, values) if isinstance(text, str) else ""

    def steps(self, rule: str, values: Mapping[str, str]) -> tuple[str, ...]:
        """What to check first, in order."""
        text = self._found(rule, "steps")
        return tuple(self._filled(step, values) for step in text) if isinstance(text, tuple) else ()

    def _found(self, rule: str, part: str) -> Text:
        family = self.entry(rule).family
        keys = (f"rule.{rule}.{part}", f"family.{family}.{part}", f"family.{UNKNOWN}.{part}")
        return next((self.texts[key] for key in keys if key in self.texts), "")

    def _filled(self, text: str, values: Mapping[str, str]) -> str:
        """The names of the alert in their places; a word of the language where the alert has none.

        Only the catalogue's text is a template: what comes from a packet is put in and never read again.
        """
        given = {name: (values.get(name) or self.say(f"missing.{name}"))[:LONGEST] for name in PLACEHOLDERS}
        first = text[1:].partition("}")[0] if text.startswith("{") else ""
        if first and not values.get(first):
            word = given[first]
            return word[:1].upper() + word[1:] + text.partition("}")[2].format(**given)
        return text.format(**given)


@lru_cache(maxsize=4)
def load_catalogue(language: str = DEFAULT) -> Catalogue:
    """The catalogue in one language.

    Raises
    ------
    KeyError
        No such language.
    CatalogueError
        A key stands in two files.
    """
    if language not in LANGUAGES:
        raise KeyError(language)
    texts: dict[str, Text] = {}
    for name, table in _tables(language):
        for key, text in flattened(table):
            if key in texts:
                raise CatalogueError(f"{language}/{name}: {key} stands in another file as well")
            texts[key] = text
    rules = _read(RULES)
    families = {name: tuple(given.get("fields", ())) for name, given in rules["families"].items()}
    entries = {rule: _entry(rule, given, families) for rule, given in rules["rules"].items()}
    protocols = {name: tuple(fields) for name, fields in rules["protocols"].items()}
    return Catalogue(language, texts, entries, protocols)


def placeholders(text: Text) -> set[str]:
    """Names in braces of a text."""
    parts = (text,) if isinstance(text, str) else text
    return {name for part in parts for _, name, _, _ in string.Formatter().parse(part) if name is not None}


def flattened(table: Mapping[str, Any], head: str = "") -> Iterator[tuple[str, Text]]:
    """Keys joined by dots, and their texts."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{head}{key}.")
        else:
            yield head + key, tuple(value) if isinstance(value, list) else str(value)


def _entry(rule: str, given: Mapping[str, Any], families: Mapping[str, tuple[str, ...]]) -> Entry:
    family = str(given["family"])
    return Entry(rule, family, tuple(given.get("fields", families[family])))


def _tables(language: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    folder = resources.files(PACKAGE).joinpath(language)
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.name.endswith(".toml"):
            yield file.name, tomllib.loads(file.read_text("utf-8"))


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads(resources.files(PACKAGE).joinpath(name).read_text("utf-8"))

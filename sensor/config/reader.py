"""Reading a TOML table strictly, and going on after a mistake, so that all mistakes are told at once.

Every value is checked for type and range, every unknown key is refused, nothing is coerced. A mistake gives
the default and is remembered as a :class:`Problem` that names file, line, key and remedy.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sensor.config.lines import line_of
from sensor.errors import InputError

_SHOWN: Final = 60
MAX_TEXT: Final = 500
NAME: Final = r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}"
"""Pattern of names that go into tags, file names and messages."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a configuration."""

    file: str
    line: int
    key: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: {self.key}: " if self.key else f"{self.file}:{self.line}: "
        return f"{place}{self.problem}. {self.remedy}" if self.remedy else place + self.problem


class ConfigError(InputError):
    """A configuration that cannot be used; its text has one line for each mistake.

    Parameters
    ----------
    problems : sequence of Problem
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(map(str, self.problems)))


@dataclass(slots=True)
class Place:
    """The file under check: its lines, and what is wrong with it so far."""

    file: str
    lines: dict[str, int]
    problems: list[Problem] = field(default_factory=list)

    def fail(self, key: str, problem: str, remedy: str = "") -> None:
        """Remember a mistake."""
        self.problems.append(Problem(self.file, line_of(self.lines, key), key, problem, remedy))


def shown(value: object) -> str:
    """A value as it stands in a message, cut to a readable length."""
    text = ascii(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


class Section:
    """One table of the file."""

    def __init__(self, data: Mapping[str, Any], place: Place, path: str = "") -> None:
        self.data, self.place, self.path = data, place, path
        self._seen: set[str] = set()

    def where(self, key: str) -> str:
        """Full path of a key."""
        return f"{self.path}.{key}" if self.path and key else self.path or key

    def fail(self, key: str, problem: str, remedy: str = "") -> None:
        """Remember a mistake about one key; "" the table itself."""
        self.place.fail(self.where(key), problem, remedy)

    def has(self, key: str) -> bool:
        """Whether the key is there."""
        return key in self.data

    def text(self, key: str, default: str = "", pattern: str = "", example: str = "") -> str:
        """A printable text that matches ``pattern`` as a whole."""
        value = self._take(key, str, "a text in quotes", default)
        return self._check(key, value, pattern, example, default)

    def required(self, key: str, example: str) -> str:
        """A text that must be there and not be empty."""
        if key not in self.data:
            self._seen.add(key)
            self.fail(key, "is missing", f'Add {key} = "{example}"')
            return ""
        value = self.text(key)
        if value == "" and self.data[key] == "":
            self.fail(key, "is empty", f'Write for example {key} = "{example}"')
        return value

    def choice(self, key: str, allowed: Sequence[str], default: str) -> str:
        """One of a fixed list of words."""
        value = self._take(key, str, f"one of {', '.join(allowed)}", default)
        if value not in allowed:
            near = difflib.get_close_matches(value, allowed, 1)
            hint = f'Did you mean "{near[0]}"? ' if near else ""
            self.fail(key, f"{shown(value)} is not known", f"{hint}Choose one of: {', '.join(allowed)}")
            return default
        return str(value)

    def number(self, key: str, default: float, least: float, most: float) -> float:
        """A finite number in a range, whole or not."""
        self._seen.add(key)
        value = self.data.get(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self.fail(key, f"{shown(value)} is not a number", f"Write for example {key} = {default:g}")
            return default
        if not least <= value <= most:
            self.fail(key, f"{value:g} is out of range", f"Use {least:g} to {most:g}")
            return default
        return float(value)

    def integer(self, key: str, default: int, least: int, most: int) -> int:
        """A whole number in a range."""
        value = self._take(key, int, "a whole number", default)
        if not least <= value <= most:
            self.fail(key, f"{value} is out of range", f"Use {least} to {most}")
            return default
        return int(value)

    def boolean(self, key: str, default: bool) -> bool:
        """True or false."""
        return bool(self._take(key, bool, "true or false (without quotes)", default))

    def texts(self, key: str, most: int = 64) -> tuple[str, ...]:
        """A list of texts; empty when the key is not there."""
        values = self._take(key, list, "a list of texts in [ ]", [])
        if len(values) > most:
            self.fail(key, f"list of {len(values)} is too long", f"Use at most {most}")
            return ()
        for value in values:
            if not isinstance(value, str) or not value or len(value) > MAX_TEXT or not value.isprintable():
                self.fail(key, f"{shown(value)} is not a printable text", "Put each entry in quotes")
                return ()
        return tuple(values)

    def section(self, key: str) -> Section:
        """A table inside this one; an empty one when it is not there."""
        return Section(self._take(key, dict, f"a table [{self.where(key)}]", {}), self.place, self.where(key))

    def sections(self, key: str, most: int) -> Iterator[Section]:
        """Each table of a list of tables."""
        values = self._take(key, list, f"tables [[{self.where(key)}]]", [])
        if len(values) > most:
            self.fail(key, f"{len(values)} of them are too many", f"Use at most {most}")
            values = values[:most]
        for index, value in enumerate(values):
            path = f"{self.where(key)}[{index}]"
            if isinstance(value, dict):
                yield Section(value, self.place, path)
            else:
                self.place.fail(path, f"{shown(value)} is not a table", f"Begin it with [[{key}]]")

    def done(self) -> None:
        """Refuse keys that nobody asked for."""
        for key in self.data:
            if key not in self._seen:
                near = difflib.get_close_matches(key, self._seen, 1)
                hint = f"Did you mean {near[0]}? " if near else ""
                self.fail(key, "is not a key here", f"{hint}Known: {', '.join(sorted(self._seen))}")

    def _take(self, key: str, kind: type, words: str, default: Any) -> Any:
        self._seen.add(key)
        value = self.data.get(key, default)
        if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
            self.fail(key, f"{shown(value)} is not {words}", f"Write {words}")
            return default
        return value

    def _check(self, key: str, value: str, pattern: str, example: str, default: str) -> str:
        if len(value) > MAX_TEXT or not value.isprintable():
            self.fail(key, f"{shown(value)} is too long or not printable", "Use one short printable line")
            return default
        if value and pattern and not re.fullmatch(pattern, value):
            self.fail(
                key,
                f"{shown(value)} does not have the right form",
                f'Write for example "{example}"; it must match {pattern}'
                if example
                else f"It must match {pattern}",
            )
            return default
        return value

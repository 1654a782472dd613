"""Reading a TOML table strictly: every value checked for type and size, every unknown key refused.

Only ``parse`` uses this. Each problem becomes a :class:`ProfileError` that names file, key, value and
remedy; nothing is coerced and nothing is ignored.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NoReturn

from grid_profiles.schema import ProfileError

MAX_TEXT: Final = 200
MAX_LIST: Final = 512
MAX_INT: Final = 2**63 - 1
_SHOWN = 60


def shown(value: object) -> str:
    """A value as it stands in an error message, cut to a readable length."""
    text = ascii(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


class Table:
    """One TOML table with the file and key path it came from.

    Parameters
    ----------
    data : dict
        As tomllib gives it.
    file : str
        For messages.
    path : str
        Key path of the table; "" for the top of the file.
    """

    def __init__(self, data: Mapping[str, Any], file: str, path: str = "") -> None:
        self.data, self.file, self.path = data, file, path
        self._seen: set[str] = set()

    def where(self, key: str) -> str:
        """Full path of a key, for messages."""
        return f"{self.path}.{key}" if self.path else key

    def fail(self, key: str, problem: str, remedy: str = "") -> NoReturn:
        """Refuse the profile because of one key."""
        raise ProfileError(self.file, self.where(key) if key else self.path, problem, remedy)

    def has(self, key: str) -> bool:
        """Whether the key is in the table."""
        return key in self.data

    def _take(self, key: str, kind: type, words: str, default: Any) -> Any:
        self._seen.add(key)
        if key not in self.data:
            if default is None:
                self.fail(key, "is missing", f"Add {key} = {words}")
            return default
        value = self.data[key]
        if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
            self.fail(key, f"{shown(value)} is not {words}", f"Write {words}")
        return value

    def text(
        self, key: str, default: str | None = None, pattern: str = "", most: int = MAX_TEXT, example: str = ""
    ) -> str:
        """A printable text of at most ``most`` characters that matches ``pattern`` as a whole."""
        value: str = self._take(key, str, "a text in quotes", default)
        return self._check_text(key, value, pattern, most, example) if key in self.data else value

    def _check_text(self, key: str, value: str, pattern: str, most: int, example: str) -> str:
        if len(value) > most:
            self.fail(key, f"text of {len(value)} characters is too long", f"Use at most {most}")
        if not value.isprintable():
            self.fail(
                key, f"{shown(value)} holds a control character or line break", "Use one printable line"
            )
        if pattern and not re.fullmatch(pattern, value):
            self.fail(
                key,
                f"{shown(value)} does not have the right form",
                f'Write for example "{example}"' if example else f"It must match {pattern}",
            )
        return value

    def prose(self, key: str, most: int) -> str:
        """A text that may run over lines; runs of white space become one space."""
        value = " ".join(self._take(key, str, "a text in quotes", "").split())
        return self._check_text(key, value, "", most, "") if value else ""

    def choice(self, key: str, allowed: Sequence[str], default: str | None = None) -> str:
        """One of a fixed list of words."""
        value: str = self._take(key, str, f"one of {', '.join(allowed)}", default)
        if value not in allowed:
            near = difflib.get_close_matches(value, allowed, 1)
            hint = f'Did you mean "{near[0]}"? ' if near else ""
            self.fail(key, f"{shown(value)} is not known", f"{hint}Choose one of: {', '.join(allowed)}")
        return value

    def integer(self, key: str, default: int | None = None, least: int = 0, most: int = MAX_INT) -> int:
        """A whole number between ``least`` and ``most``."""
        value: int = self._take(key, int, "a whole number", default)
        if not least <= value <= most:
            self.fail(key, f"{value} is out of range", f"Use {least} to {most}")
        return value

    def number(self, key: str, default: float) -> float:
        """A finite number, whole or not."""
        self._seen.add(key)
        value = self.data.get(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value - value != 0:
            self.fail(key, f"{shown(value)} is not a finite number", "Write for example 0.001")
        return float(value)

    def boolean(self, key: str, default: bool) -> bool:
        """True or false."""
        return bool(self._take(key, bool, "true or false (without quotes)", default))

    def integers(self, key: str, least: int, most: int) -> tuple[int, ...]:
        """A list of whole numbers without repeats; empty when the key is not there."""
        values = self._list(key)
        for place, value in enumerate(values):
            if isinstance(value, bool) or not isinstance(value, int):
                self.fail(f"{key}[{place}]", f"{shown(value)} is not a whole number", "Remove the quotes")
            if not least <= value <= most:
                self.fail(f"{key}[{place}]", f"{value} is out of range", f"Use {least} to {most}")
        self._no_repeats(key, values)
        return tuple(values)

    def texts(self, key: str, pattern: str, example: str, least: int = 0, most: int = 64) -> tuple[str, ...]:
        """A list of texts without repeats, each of which matches ``pattern`` as a whole."""
        values = self._list(key, most)
        if len(values) < least:
            self.fail(key, "is missing or empty", f'Write for example {key} = ["{example}"]')
        for place, value in enumerate(values):
            if not isinstance(value, str):
                self.fail(f"{key}[{place}]", f"{shown(value)} is not a text", "Put it in quotes")
            self._check_text(f"{key}[{place}]", value, pattern, MAX_TEXT, example)
        self._no_repeats(key, values)
        return tuple(values)

    def _no_repeats(self, key: str, values: Sequence[object]) -> None:
        for value in values:
            if values.count(value) > 1:
                self.fail(key, f"{shown(value)} stands there twice", "Remove one")

    def _list(self, key: str, most: int = MAX_LIST) -> list[Any]:
        values: list[Any] = self._take(key, list, "a list in [ ]", [])
        if len(values) > most:
            self.fail(key, f"list of {len(values)} is too long", f"Use at most {most}")
        return values

    def table(self, key: str) -> Table:
        """A table inside this one; an empty one when the key is not there."""
        return Table(self._take(key, dict, f"a table [{self.where(key)}]", {}), self.file, self.where(key))

    def tables(self, key: str, most: int) -> Iterator[Table]:
        """Each table of a list of tables."""
        for place, value in enumerate(self._list(key, most)):
            path = f"{self.where(key)}[{place}]"
            if not isinstance(value, dict):
                raise ProfileError(self.file, path, f"{shown(value)} is not a table", "Write it in { }")
            yield Table(value, self.file, path)

    def free_keys(self, most: int = MAX_LIST) -> tuple[str, ...]:
        """All keys of a table whose keys are free, marking them as known."""
        if len(self.data) > most:
            self.fail("", f"table of {len(self.data)} keys is too long", f"Use at most {most}")
        self._seen.update(self.data)
        return tuple(self.data)

    def known(self, key: str) -> None:
        """Mark a key as one that the format has, although nobody read it through this table."""
        self._seen.add(key)

    def done(self) -> None:
        """Refuse keys that nobody asked for."""
        for key in self.data:
            if key not in self._seen:
                near = difflib.get_close_matches(key, self._seen, 1)
                hint = f"Did you mean {near[0]}? " if near else ""
                self.fail(
                    key, "is not a key of the format", f"{hint}Known here: {', '.join(sorted(self._seen))}"
                )

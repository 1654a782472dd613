"""HTML that is escaped unless it says otherwise.

:class:`Html` marks text that is markup already. Everything else that goes into :func:`tag` is text from
outside: it is escaped, and characters that would act instead of show (control characters, direction
overrides, invisible ones) are spelled out as ``\\u202e``. Concatenation and f-strings give a plain
``str`` again, so that a forgotten escape shows up as visible tags, never as an injection.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterable
from typing import Final

LONGEST: Final = 400
"""Characters of one text from outside that are shown; a dataset name has 129 at most."""

ACTING: Final = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"})
"""Unicode categories that act or hide: control, format, private, surrogate, unassigned, separators."""

VOID: Final = frozenset({"meta", "br", "hr", "input"})


class Html(str):
    """Text that is HTML already and must not be escaped again."""

    __slots__ = ()


Child = str | int | float | None


def visible(text: str, limit: int = LONGEST) -> str:
    """Plain text in which every character shows: acting ones spelled out, length bounded."""
    cut = text if len(text) <= limit else text[:limit] + f"… ({len(text) - limit} more characters)"
    return "".join(c if unicodedata.category(c) not in ACTING else _spelled(c) for c in cut)


def escape(text: Child, limit: int = LONGEST) -> Html:
    """Text from outside as HTML; :class:`Html` passes unchanged, None is empty."""
    if text is None:
        return Html()
    if isinstance(text, Html):
        return text
    return Html(html.escape(visible(str(text), limit), quote=True))


def join(parts: Iterable[Child], between: str = "") -> Html:
    """Children one after the other, each escaped unless it is HTML."""
    return Html(between.join(escape(part) for part in parts))


def tag(name: str, /, *children: Child, **attributes: Child | bool) -> Html:
    """One element.

    Attribute names: a trailing underscore is dropped (``class_``), inner ones become hyphens
    (``aria_label``). An attribute that is None or False is left out, True stands alone. ``style`` is
    refused: the page's content security policy forbids it.
    """
    if "style" in attributes:
        raise ValueError("no style attributes: the page's policy forbids them, use a class")
    words = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-") if key != "viewBox" else key
        words.append(key if value is True else f'{key}="{escape(value)}"')
    opening = f"<{' '.join(words)}>"
    if name in VOID:
        return Html(opening)
    return Html(f"{opening}{join(children)}</{name}>")


def wire(text: str, class_: str = "wire") -> Html:
    """A name from the capture, set apart: isolated direction, fixed width."""
    return tag("bdi", text, class_=class_)


def _spelled(character: str) -> str:
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"

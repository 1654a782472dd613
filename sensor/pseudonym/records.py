"""Records of the store on their way to a sink, with pseudonyms in place of addresses and names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from sensor.pseudonym.key import CISCO, MAC_TEXT, Pseudonyms
from sensor.pseudonym.text import Scrubber
from sensor.sinks.base import Record

OURS: Final = frozenset({"record", "site", "sensor", "level", "reading", "rule", "technique"})
"""Fields that hold words of our own."""

IDS: Final = frozenset({"id", "incident", "alerts"})
"""Fields that hold ids of alerts and incidents."""

IN_JSON: Final = frozenset({"scope"})
"""Fields that hold JSON as text."""

WHO: Final = ("src", "dst", "hosts")
"""Fields that hold addresses and nothing else."""


class RecordScrub:
    """What the forwarder calls for each record; the same record always gives the same."""

    def __init__(self, pseudonyms: Pseudonyms) -> None:
        self._scrubber = Scrubber(pseudonyms)

    def __call__(self, record: Record) -> Record:
        """A copy with pseudonyms; time and change stay, and the identity by which the outbox knows it."""
        ident = record.ident
        if record.kind in ("level", "sample"):  # name, conversation, time
            ident = self._scrubber.text(ident, set(_addresses(record.data)))
        return replace(record, ident=ident, data=scrubbed(record.data, self._scrubber))


def scrubbed(data: dict[str, Any], scrubber: Scrubber) -> dict[str, Any]:
    """A JSON object about alerts with pseudonyms in all its texts."""
    known = set(_addresses(data))
    return {key: _field(key, value, known, scrubber) for key, value in data.items()}


def _field(key: str, value: Any, known: set[str], scrubber: Scrubber) -> Any:
    if key in OURS:
        return value
    if key in IDS and isinstance(value, str):
        return scrubber.pseudonyms.ident(value)
    if key in IDS and isinstance(value, list) and all(isinstance(one, str) for one in value):
        return [scrubber.pseudonyms.ident(one) for one in value]
    if key in IN_JSON and isinstance(value, str):
        try:
            inner = _value(json.loads(value), known, scrubber)
        except ValueError:
            return ""
        return json.dumps(inner, ensure_ascii=True, separators=(",", ":"))
    return _value(value, known, scrubber)


def _value(value: Any, known: set[str], scrubber: Scrubber) -> Any:
    if isinstance(value, str):
        return scrubber.text(value, known)
    if isinstance(value, list):
        return [_value(one, known, scrubber) for one in value]
    if isinstance(value, dict):
        return {
            scrubber.text(str(key), known): _field(str(key), one, known, scrubber)
            for key, one in value.items()
        }
    return value


def _addresses(data: dict[str, Any]) -> Iterator[str]:
    """What a record names as addresses of its own."""
    for key in WHO:
        value = data.get(key)
        yield from (str(one) for one in (value if isinstance(value, list) else [value]) if _address(one))
    conversation = data.get("conversation")
    if isinstance(conversation, str):
        for word in conversation.split():
            if _address(word):
                yield word


def _address(text: Any) -> bool:
    """Long enough to be one, and not a mere word."""
    if not isinstance(text, str) or len(text) < 7:
        return False
    return bool(
        MAC_TEXT.fullmatch(text) or CISCO.fullmatch(text) or text.count(":") >= 2 or text.count(".") == 3
    )

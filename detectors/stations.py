"""The station's own names in alerts: IEDs beside addresses, members of data sets beside entry numbers.

Names come from the station description in the baseline. They stand beside what was seen and never in its
place: an address can be forged, and a search for it must find the alert.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from detectors.base import Alert
from detectors.baseline import Baseline

ADDRESS: Final = re.compile(
    r"(?<![\w.:])(?:[0-9a-f]{2}(?::[0-9a-f]{2}){5}|\d{1,3}(?:\.\d{1,3}){3}|[0-9a-f:]*::[0-9a-f:]+)(?![\w:]|\.\d)"
)
ENTRY: Final = re.compile(r"(\S+) \[(\d{1,5})\](?! = )")
LONGEST: Final = 2_000


def plain_point(text: str) -> str:
    """A point's text as the decoder gives it, without the station's name for it."""
    return text.partition("] = ")[0] + "]" if "] = " in text else text


class StationNames:
    """Adds names to alerts; ``publishers`` (IED by source address) may grow while it is used."""

    def __init__(self, baseline: Baseline, publishers: Mapping[str, str]) -> None:
        self._publishers = publishers
        self._hosts: dict[str, str] = {}
        for row in baseline.rows("devices"):
            for address in (row.address, row.mac):
                if address and row.ied:
                    self._hosts.setdefault(address, row.ied)
        self._entries = {(row.ref, row.entry): row.name for row in baseline.rows("dataset_entries")}

    def apply(self, alert: Alert) -> Alert:
        """Name what can be named in the texts of an alert; changes and returns it."""
        if self._hosts or self._publishers or self._entries:
            alert.summary = self.named(alert.summary)
            alert.expected = self.named(alert.expected)
            alert.observed = self.named(alert.observed)
            alert.point = ENTRY.sub(self._entry, alert.point[:LONGEST]) if alert.point else alert.point
        return alert

    def named(self, text: str) -> str:
        """A text with names: each address once, each entry where it stands."""
        if len(text) > LONGEST:
            return text
        seen: set[str] = set()

        def name(match: re.Match[str]) -> str:
            address = match.group(0)
            ied = self._hosts.get(address) or self._publishers.get(address)
            if not ied or address in seen or match.string.startswith(" (", match.end()):
                return address
            seen.add(address)
            return f"{address} ({ied})"

        return ENTRY.sub(self._entry, ADDRESS.sub(name, text))

    def _entry(self, match: re.Match[str]) -> str:
        found = self._entries.get((match.group(1), int(match.group(2))))
        return f"{match.group(0)} = {found}" if found else match.group(0)

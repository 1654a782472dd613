"""What each part of the detection is worth: ablation by family, and strangers in disguise.

**Ablation** takes the alerts of one run apart by the detector that gave them and groups each part into
incidents anew; detectors know nothing of each other, so this is what each would have said alone.

**Disguise** asks what is left when addresses give nothing away: every host that the baseline does not know
takes the address of one that it does, the one that speaks the same protocol with the same partner most. It
is what an attacker does who has taken over a known station. Permuting all addresses instead would make
every frame of the plant strange and say nothing about the attack.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detectors.alerts import incidents_of
from detectors.base import Alert
from detectors.baseline import Baseline
from detectors.groups import is_group_address
from sensor.labels import Event
from sensor.messages import MessageBatch
from sensor.names import Names
from sensor.result import Result

PYOD: Final = frozenset({"behaviour", "evidence", "value-departs"})
"""Detectors, and one rule of a detector, that score with PyOD's models."""

LEARNED: Final = frozenset(
    ("allowlist", "timing", "values", "responses", "sequence", "rhythm", "margins", "behaviour", "evidence")
)
"""Detectors that know only what a baseline has learned; others follow a standard or a description."""

FAMILIES: Final = ("all", "rules only", "learned only", "PyOD only")


def ablated(result: Result, family: str) -> Result:
    """The run as if only one family of detectors had been on; ``family`` is one of :data:`FAMILIES`."""
    alerts = [replace(alert, incident="") for alert in result.alerts if _belongs(alert, family)]
    incidents = incidents_of(alerts)
    return replace(result, alerts=alerts, incidents=incidents)


def _belongs(alert: Alert, family: str) -> bool:
    if family == "PyOD only":
        return alert.detector in PYOD or alert.rule in PYOD
    if family == "rules only":
        return alert.detector not in LEARNED
    return family == "all" or alert.detector in LEARNED


class Disguise:
    """Gives strangers the addresses of known hosts, in the batches of one run and in its labels.

    Attributes
    ----------
    worn : dict of str to str
        Address of a stranger to the address it now has; filled as strangers appear.
    """

    def __init__(self, names: Names, baseline: Baseline) -> None:
        self.names = names
        self.worn: dict[str, str] = {}
        self._partners: dict[tuple[str, str, bool], Counter[str]] = {}
        self._busiest: Counter[str] = Counter()
        self._hosts: dict[int, int] = {}
        self._convs: dict[int, int] = {}
        for row in baseline.rows("conversations"):
            for host, other, client in ((row.client, row.server, True), (row.server, row.client, False)):
                self._busiest[host] += int(row.count)
                self._partners.setdefault((row.protocol, other, client), Counter())[host] += int(row.count)

    def batches(self, batches: Iterable[MessageBatch]) -> Iterator[MessageBatch]:
        """The same batches, with known addresses only where a fitting one is found."""
        for batch in batches:
            messages, points = batch.messages.copy(), batch.points.copy()
            if len(messages):
                messages["conv"] = self._replaced(messages["conv"], self._conversation)
                for side in ("src", "dst"):
                    messages[side] = self._replaced(messages[side], self._host)
            if len(points):
                points["conv"] = self._replaced(points["conv"], self._conversation)
            yield replace(batch, messages=messages, points=points)

    def events(self, events: Sequence[Event]) -> list[Event]:
        """Labels that name the new addresses; known once the batches have passed."""
        return [
            replace(event, src=" ".join(self.worn.get(host, host) for host in sorted(event.hosts)), dst="")
            for event in events
        ]

    def _replaced(self, column: npt.NDArray[Any], by: Any) -> npt.NDArray[Any]:
        numbers, index = np.unique(column, return_inverse=True)
        return np.array([by(int(number)) for number in numbers], column.dtype)[index]

    def _host(self, ident: int) -> int:
        return self._hosts.get(ident, ident)

    def _conversation(self, ident: int) -> int:
        known = self._convs.get(ident)
        if known is None:
            known = self._convs[ident] = self._dressed(ident)
        return known

    def _dressed(self, ident: int) -> int:
        words = self.names.conversation(ident)
        proto, client, server, port, sub, vlan = self.names.conversation_ids(ident)
        if not proto:
            return ident
        mine = self._address(words.client, client, words.protocol, words.server, True)
        theirs = self._address(words.server, server, words.protocol, words.client, False)
        if mine == theirs:  # nobody speaks to himself
            return ident
        return self.names.intern_conversation(proto, mine, theirs, port, sub, vlan)

    def _address(self, host: str, ident: int, protocol: str, partner: str, client: bool) -> int:
        if not host or host in self._busiest or ident in self._hosts or is_group_address(host):
            return self._hosts.get(ident, ident)
        kind = ":" in host
        fitting = self._partners.get((protocol, partner, client), self._busiest)
        for known, _ in fitting.most_common():
            if (":" in known) == kind and known != partner:
                self.worn[host] = known
                self._hosts[ident] = self.names.intern_endpoint(known)
                return self._hosts[ident]
        return ident

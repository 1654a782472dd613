"""CoAP: refusals, and sweeps for what devices offer.

Standards followed: RFC 7252, 5.9.2 (client errors) and 7 (discovery by /.well-known/core).
"""

from __future__ import annotations

from typing import Final

from detectors.base import Level, Slice
from detectors.baseline import Baseline
from detectors.groups import Lens
from detectors.rules.shared import ProtocolRules, Rows, Rule, has
from grid_profiles.vocabulary import Flag, Role

NAME: Final = "coap"
FIRST_CLIENT_ERROR, FIRST_SERVER_ERROR = 128, 160
REFUSALS, DEVICES = 10, 8

REFUSED = Rule("coap-refused", Level.WARNING, {"attack": 0.6, "operation": 0.2, "fault": 0.2}, "T0888")
SWEEP = Rule("coap-sweep", Level.WARNING, {"attack": 0.8, "operation": 0.2}, "T0846")


class CoapRules(ProtocolRules):
    """Checks CoAP answers and requests by number."""

    protocol = NAME

    def __init__(self, lens: Lens, baseline: Baseline | None = None) -> None:
        super().__init__(lens, baseline)
        self._refused, self._devices = self.tally(10), self.tally(60)

    def check(self, rows: Rows, piece: Slice) -> None:
        """By number."""
        kinds = rows["kind"]
        errors = has(rows, Flag.NEGATIVE) & (kinds >= FIRST_CLIENT_ERROR) & (kinds < FIRST_SERVER_ERROR)
        self.refusals(REFUSED, self._refused, rows.compress(errors), REFUSALS, "refused requests of")
        asked = rows.compress((rows["role"] == Role.CLIENT) & (kinds > 0) & (kinds < 8))
        self.sweep(SWEEP, self._devices, asked, DEVICES, "turned to")

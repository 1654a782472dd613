"""Every source of margins as one: slices in, margins of conversations by name out."""

from __future__ import annotations

from detectors.base import Names, Slice
from detectors.groups import ConvKey, Lens
from sensor.features.margins import Margins
from sensor.warning.ptp_margins import PtpMargins


class MarginSources:
    """All margins of a run."""

    def __init__(self, names: Names) -> None:
        self._sources = (Margins(names), PtpMargins(names))

    @property
    def left_out(self) -> int:
        """Rows and streams for which there was no room."""
        return sum(source.left_out for source in self._sources)

    def push(self, piece: Slice) -> None:
        """Take one slice."""
        for source in self._sources:
            source.push(piece)

    def close(self, end: int, lens: Lens) -> list[tuple[str, str, ConvKey, float]]:
        """(name, unit, conversation, value) of the window that ends at ``end`` (ns)."""
        return [
            (margin.name, margin.unit, lens.conv(margin.conv), margin.value)
            for source in self._sources
            for margin in source.close(end)
        ]

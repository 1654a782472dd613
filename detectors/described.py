"""Streams of a station description, and who publishes them: what ``engineered`` compares traffic with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy.typing as npt

from detectors.baseline import Baseline

NAME: Final = "engineered"
GOOSE: Final = "goose"
SV: Final = "sv"
MAX_SOURCES: Final = 8_192
RATE_TOLERANCE: Final = 0.02
NOMINAL: Final = (50.0, 60.0, 16.7)
"""Nominal frequencies (Hz) that samples per period may be meant for; the description does not say."""

TAG_NAMES: Final = {
    0x83: "BOOLEAN",
    0x84: "bit string",
    0x85: "integer",
    0x86: "unsigned",
    0x87: "float",
    0x89: "octets",
    0x8A: "visible string",
    0x8C: "binary time",
    0x90: "Unicode string",
    0x91: "UTC time",
}

Deviation = tuple[str, str, str]
"""(what, engineered, came)."""


@dataclass(slots=True)
class Block:
    """One described control block at one address, and where it stands in this run.

    ``heard`` (ns) is -1 until its first frame; ``lifetime`` (ns) is what its last frame promised.
    """

    protocol: str
    ref: str
    ied: str
    access_point: str
    subnetwork: str
    description: str
    destination: str
    appid: int
    vlan: int
    dataset: str
    go_id: str
    conf_rev: int
    entries: int
    values: int
    max_ms: float
    rate: int
    rate_mode: str
    asdus: int
    subscribers: str
    names: list[tuple[str, str, int]] = field(default_factory=list)  # name, type, tag of each value
    heard: int = -1
    lifetime: int = 0
    silent: bool = False

    @property
    def title(self) -> str:
        """The stream in the station's own words."""
        what = "GOOSE" if self.protocol == GOOSE else "sampled values"
        described = f", {self.description}" if self.description else ""
        return f"{what} {self.ref} of {self.ied}{described}"

    def misdirected(self, conv: tuple[Any, ...]) -> list[Deviation]:
        """How the address of a conversation differs."""
        _, _, server, port, _, vlan = conv
        wrong = []
        if self.destination and server != self.destination:
            wrong.append(("destination", self.destination, server))
        if self.appid >= 0 and port != self.appid:
            wrong.append(("APPID", f"0x{self.appid:04X}", f"0x{port:04X}"))
        if self.vlan >= 0 and vlan > 0 and vlan != self.vlan:
            wrong.append(("VLAN", str(self.vlan), str(vlan)))
        return wrong

    def misconfigured(self, said: dict[str, Any]) -> list[Deviation]:
        """How what a message says of itself differs; what either side does not say is not compared."""
        wrong = []
        for key, name, due in (
            ("conf_rev", "confRev", self.conf_rev),
            ("entries", "data set entries", self.entries),
            ("asdus", "ASDUs in a frame", self.asdus),
        ):
            came = said.get(key, -1)
            if due >= 0 and came >= 0 and came != due:
                wrong.append((name, str(due), str(came)))
        if self.dataset and said.get("dataset") and said["dataset"] != self.dataset:
            wrong.append(("datSet", self.dataset, str(said["dataset"])))
        if self.go_id and "go_id" in said and said["go_id"] != self.go_id:
            wrong.append(("goID", self.go_id, str(said["go_id"]) or "none"))
        return wrong + self._rate(said.get("measured", -1))

    def _rate(self, measured: int) -> list[Deviation]:
        """Samples a second, as measured over one second."""
        if self.rate <= 0 or measured <= 0 or self.rate_mode not in ("SmpPerPeriod", "SmpPerSec"):
            return []
        due = [float(self.rate)] if self.rate_mode == "SmpPerSec" else [self.rate * f for f in NOMINAL]
        if any(abs(measured - rate) <= RATE_TOLERANCE * rate for rate in due):
            return []
        unit = "samples/s" if self.rate_mode == "SmpPerSec" else "samples per period"
        return [("rate", f"{self.rate} {unit}", f"about {rounded(measured)} samples/s")]

    def mistyped(self, tags: npt.NDArray[Any]) -> Deviation | None:
        """How the values of one message (ASN.1 tags) differ from the data set."""
        if len(tags) != self.values:
            return ("number of values", str(self.values), str(len(tags)))
        for number, (tag, (name, kind, due)) in enumerate(zip(tags.tolist(), self.names, strict=False)):
            if due and tag != due and {tag, due} != {0x85, 0x86}:  # vendors mix signed and unsigned
                came = TAG_NAMES.get(tag, f"type 0x{tag:02X}")
                return (f"value {number} ({name})", f"{kind} ({TAG_NAMES.get(due, '?')})", came)
        return None


def rounded(rate: int) -> int:
    """Two digits: a measured rate trembles, and each text of its own would be an alert of its own."""
    step = 10 ** max(len(str(rate)) - 2, 0)
    return int(round(rate / step) * step)


def blocks_of(baseline: Baseline) -> dict[tuple[str, str], list[Block]]:
    """Described streams by protocol and name on the wire; several where one is sent to several addresses."""
    names: dict[tuple[str, str], list[tuple[int, str, str, int]]] = {}
    for row in baseline.rows("dataset_entries"):
        names.setdefault((row.protocol, row.ref), []).append((row.entry, row.name, row.type, row.tag))
    made: dict[tuple[str, str], list[Block]] = {}
    fields = [
        name for name in Block.__dataclass_fields__ if name not in ("names", "heard", "lifetime", "silent")
    ]
    for row in baseline.rows("control_blocks"):
        block = Block(**{name: getattr(row, name) for name in fields})
        block.names = [entry[1:] for entry in sorted(names.get((row.protocol, row.ref), []))]
        made.setdefault((row.protocol, row.ref), []).append(block)
    return made


class Publishers:
    """Which source publishes for which access point: as described, as learned, else as first heard."""

    def __init__(self, baseline: Baseline, blocks: dict[tuple[str, str], list[Block]]) -> None:
        self.names: dict[str, str] = {}
        self._places: dict[tuple[str, str], str] = {}  # (IED, access point) -> source
        self._owners: dict[str, tuple[str, str]] = {}  # source -> (IED, access point)
        self._heard: dict[tuple[str, str], str] = {}  # stream -> source
        self._learned: dict[str, set[str]] = {}
        self._dark: set[str] = set()
        self._devices = sorted(
            {row.ied for row in baseline.rows("devices") if row.ied}, key=len, reverse=True
        )
        for row in baseline.rows("devices"):
            if row.mac:
                self._take(row.mac, (row.ied, row.access_point))
        for row in baseline.rows("publishers"):
            self._learned.setdefault(row.point, set()).add(row.source)
            for block in blocks.get((GOOSE, row.point), [])[:1]:
                self._take(row.source, (block.ied, block.access_point))

    def _take(self, source: str, place: tuple[str, str]) -> None:
        if len(self._owners) < MAX_SOURCES:
            self._owners.setdefault(source, place)
            self._places.setdefault(place, source)
            self.names.setdefault(source, place[0])

    def foreign(self, block: Block, source: str, trusted: bool) -> tuple[str, bool] | None:
        """Why this source is not the publisher of a stream, and whether it belongs to another IED.

        A source never heard before is taken for the publisher when all else it says is ``trusted``. A second
        source of a stream already heard or learned is the GOOSE rules' business.
        """
        if source in self._learned.get(block.ref, ()):
            return None
        key, place = (block.protocol, block.ref), (block.ied, block.access_point)
        first = self._heard.setdefault(key, source) if len(self._heard) < MAX_SOURCES else source
        owner, due = self._owners.get(source), self._places.get(place)
        if owner is not None and owner[0] != block.ied:
            return f"it is the source of {owner[0]}", True
        if first != source or block.ref in self._learned:
            return None
        if due is not None and due != source and owner is None:
            return f"the source of {block.ied} is {due}", False
        if trusted:
            self._take(source, place)
        return None

    def source_of(self, block: Block) -> str:
        """Known source of a stream, "" none."""
        return self._heard.get((block.protocol, block.ref)) or self._places.get(
            (block.ied, block.access_point), ""
        )

    def owner_of(self, ref: str) -> str:
        """The described IED whose name a reference begins with, "" none."""
        return next((name for name in self._devices if ref.startswith(name) and "/" in ref), "")

    def dark(self, subnetwork: str) -> bool:
        """Whether it was said before that nothing of this subnetwork is heard; notes that it is now."""
        known = subnetwork in self._dark
        self._dark.add(subnetwork)
        return known

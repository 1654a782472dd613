"""What the station description (SCL) says, held against the network: publishers, data sets, clients, silence.

Needs no learning. The tables come from ``gridwarden scl import``. Judged are GOOSE, sampled values and the
clients of engineered MMS servers; a description of single IEDs (CID, IID, ICD) speaks of their streams only,
a complete one (SCD) also makes a stranger of every stream that it does not list. Where description and
learning disagree, the description is right.

Not compared: VLAN priority (the messages do not carry it), and a VLAN that is missing (mirror ports take tags
off). Who sends a stream is seldom in a description: the first source heard is taken for the publisher, all
streams of an access point come from one source, and no source sends for two IEDs.
Standard: IEC 61850-6:2009, 9.3 (control blocks, data sets) and 9.4 (addresses, MinTime, MaxTime).
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detectors.base import Finding, Level, Slice, likeliest
from detectors.baseline import Baseline
from detectors.described import GOOSE, NAME, SV, Block, Deviation, Publishers, blocks_of, rounded
from detectors.detector import LinkFinding
from detectors.engineered_clients import Clients
from detectors.groups import SECOND, Lens
from detectors.rules.common import message_finding, protocol_numbers
from grid_profiles.vocabulary import Flag

MAX_FINE: Final = 65_536
HOLD: Final = 60.0
SILENCE_HOLD: Final = 600.0
PAUSE: Final = 30 * SECOND
MISSED: Final = 4
"""Heartbeats (MaxTime) that may be missing before a publisher is called silent."""

LEAST_SILENCE: Final = 10 * SECOND
NO_MAX_TIME: Final = 60 * SECOND
MAX_TOLD: Final = 100
"""Findings of one slice."""

COLUMNS: Final = ["conv", "src", "cause", "name", "ident", "count"]
SV_WINDOW: Final = 2
SV_LOST: Final = 0xFF01
"""Kind of a second's summary, and its point that tells how many samples are missing (docs/messages.md)."""

LEAST_FRAMES: Final = 100
"""Frames of a second below which a measured rate says nothing."""

_SKIP: Final = np.uint32(Flag.DUPLICATE | Flag.TRUNCATED | Flag.MALFORMED)

SPOOF: Final = {"attack": 0.6, "operation": 0.4}
CHANGED: Final = {"operation": 0.5, "attack": 0.5}


class Engineered:
    """Holds traffic against the engineered tables of a baseline."""

    def __init__(self, baseline: Baseline, lens: Lens) -> None:
        self.lens = lens
        self._blocks = blocks_of(baseline)
        self._publishers = Publishers(baseline, self._blocks)
        self._clients = Clients(baseline, lens)
        sources = [s for s in baseline.params.get("scl", []) if isinstance(s, dict)]
        self._complete = any(source.get("complete") for source in sources)
        self._file = ", ".join(str(source.get("file", "")) for source in sources) or "the station description"
        self._covered = {protocol for protocol, _ in self._blocks}
        self._known = {row.point for row in baseline.rows("publishers")}
        self._known |= {row.sub for row in baseline.spoken("conversations", SV)}
        self._ids = {name: lens.protocol(name) for name in (GOOSE, SV)}
        self._fine: set[tuple[Any, ...]] = set()
        self._fine_forms: set[tuple[int, int]] = set()
        self._began = self._clock = -1
        self.refused: Counter[str] = Counter()

    def counters(self) -> dict[str, int]:
        """What the bounded tables refused."""
        return dict(self.refused)

    @property
    def names(self) -> dict[str, str]:
        """IED by the source address of what it publishes, as far as known by now."""
        return self._publishers.names

    def detect(self, piece: Slice) -> list[Finding]:
        """Findings of one slice."""
        if self._began < 0 or piece.start - self._clock > PAUSE:
            self._resume(piece.start)
        self._clock = piece.end
        found: list[Finding] = []
        for protocol, ident in self._ids.items():
            if protocol in self._covered:
                numbers = protocol_numbers(piece, ident)
                numbers = numbers[piece.messages["flags"][numbers] & _SKIP == 0]
                if len(numbers):
                    self._stream_rows(protocol, numbers, piece, found)
        found += self._clients.detect(piece)
        found += self._silences(piece.end)
        if len(found) > MAX_TOLD:
            self.refused["engineered_findings"] += len(found) - MAX_TOLD
        return found[:MAX_TOLD]

    def explains(self, finding: Finding) -> bool:
        """Is this news of the allow-lists something that the description speaks about, and so judged here?"""
        if finding.detector != "allowlist" or finding.conv < 0:
            return False
        protocol, client, server, port, sub, _ = self.lens.conv(finding.conv)
        if protocol in (GOOSE, SV):
            judged = (protocol, sub) in self._blocks or (self._complete and protocol in self._covered)
            return judged and finding.rule in ("new-host", "new-conversation", "new-kind")
        return self._clients.explains(finding.rule, protocol, client, server, port)

    def _stream_rows(
        self, protocol: str, numbers: npt.NDArray[np.intp], piece: Slice, found: list[Finding]
    ) -> None:
        """Judge each stream once for what it says of itself, however often it says so."""
        numbers = numbers[np.argsort(piece.messages["conv"][numbers], kind="stable")]
        rows = piece.messages[numbers]
        new = np.zeros(len(rows), bool)
        new[0] = True
        for column in COLUMNS:
            new[1:] |= rows[column][1:] != rows[column][:-1]
        starts = np.flatnonzero(new)
        for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(rows)], strict=True):
            self._run(protocol, rows[start:end], piece, found)
        if protocol == GOOSE:
            self._values(rows, numbers, piece, found)

    def _run(self, protocol: str, rows: npt.NDArray[Any], piece: Slice, found: list[Finding]) -> None:
        """Rows of one conversation that say the same of themselves."""
        row = rows[0]
        conv = self.lens.conv(int(row["conv"]))
        blocks = self._blocks.get((protocol, conv[4]))
        for block in blocks or ():
            block.heard, block.silent = int(rows["ts"][-1]), False
            block.lifetime = int(rows["aux"][-1]) * 1_000_000 if protocol == GOOSE else 0
        key = _own_words(protocol, row)
        if key in self._fine:
            return
        made = self._judge(protocol, rows, conv, blocks, piece)
        found += made
        if not made and len(self._fine) < MAX_FINE:
            self._fine.add(key)

    def _judge(
        self,
        protocol: str,
        rows: npt.NDArray[Any],
        conv: tuple[Any, ...],
        blocks: list[Block] | None,
        piece: Slice,
    ) -> list[Finding]:
        row, source = rows[0], self.lens.names.endpoint(int(rows[0]["src"]))
        if blocks is None:
            return self._unknown(protocol, rows, conv[4], source)
        made = []
        block = min(blocks, key=lambda block: len(block.misdirected(conv)))
        if wrong := block.misdirected(conv):
            made.append(self._address(rows, block, wrong))
        if wrong := block.misconfigured(self._said(protocol, row, piece)):
            made.append(self._configuration(rows, block, wrong))
        if foreign := self._publishers.foreign(block, source, trusted=not made):
            made.append(self._publisher(rows, block, source, foreign))
        return made

    def _said(self, protocol: str, row: Any, piece: Slice) -> dict[str, Any]:
        """What a message says of its own configuration, in the words of the table."""
        text = self.lens.names.text
        said: dict[str, Any] = {"conf_rev": int(row["cause"]), "dataset": text(int(row["name"]))}
        if protocol == GOOSE:
            return said | {"go_id": text(int(row["ident"])), "entries": int(row["count"])}
        if int(row["kind"]) != SV_WINDOW:
            return said | {"asdus": int(row["count"])}
        if int(row["count"]) < LEAST_FRAMES or self._lost(row, piece):
            return said
        return said | {"measured": int(row["aux"])}

    def _lost(self, row: Any, piece: Slice) -> bool:
        """Whether samples are missing in the second that a summary is about: then its rate says nothing."""
        points = piece.points[(piece.points["conv"] == row["conv"]) & (piece.points["frame"] == row["frame"])]
        lost = points["value"][(points["point"] & 0xFFFF) == SV_LOST]
        return bool(np.any(lost > 0))

    def _unknown(self, protocol: str, rows: npt.NDArray[Any], ref: str, source: str) -> list[Finding]:
        owner = self._publishers.owner_of(ref)
        if ref in self._known or not (self._complete or owner):
            return []
        what = "GOOSE" if protocol == GOOSE else "sampled values"
        of = f": IED {owner} has no such control block" if owner else ""
        return [
            self._finding(
                "scl-unknown-publisher",
                Level.WARNING,
                rows,
                f"{self._who(source)} publishes {what} {ref or '(without a name)'}, which is not in "
                f"{self._file}{of}",
                f"{sum(key[0] == protocol for key in self._blocks)} streams described",
                f"{ref} from {source}",
                SPOOF,
                "T0856",
            )
        ]

    def _address(self, rows: npt.NDArray[Any], block: Block, wrong: list[Deviation]) -> Finding:
        return self._finding(
            "scl-address",
            Level.WARNING,
            rows,
            f"{block.title} is sent to another address than engineered: {_listed(wrong)}",
            "; ".join(f"{name} {due}" for name, due, _ in wrong),
            "; ".join(f"{name} {came}" for name, _, came in wrong),
            CHANGED,
            "T0856",
        )

    def _configuration(self, rows: npt.NDArray[Any], block: Block, wrong: list[Deviation]) -> Finding:
        return self._finding(
            "scl-configuration",
            Level.WARNING,
            rows,
            f"{block.title} is not what was engineered: {_listed(wrong)}",
            "; ".join(f"{name} {due}" for name, due, _ in wrong),
            "; ".join(f"{name} {came}" for name, _, came in wrong),
            CHANGED,
            "T0836",
        )

    def _publisher(
        self, rows: npt.NDArray[Any], block: Block, source: str, foreign: tuple[str, bool]
    ) -> Finding:
        due, elsewhere = foreign
        return self._finding(
            "scl-publisher",
            Level.ALARM if elsewhere else Level.WARNING,
            rows,
            f"{self._who(source)} publishes {block.title}; {due}",
            due,
            source,
            {"attack": 0.75, "operation": 0.25} if elsewhere else SPOOF,
            "T0856",
        )

    def _values(
        self, rows: npt.NDArray[Any], numbers: npt.NDArray[np.intp], piece: Slice, found: list[Finding]
    ) -> None:
        """Number and types of a data set's values; each form of each stream is judged once."""
        points = piece.points
        low, high = np.searchsorted(points["message"], [numbers, numbers + 1])
        forms = _forms(points, low, high)
        new = np.r_[True, (rows["conv"][1:] != rows["conv"][:-1]) | (forms[1:] != forms[:-1])]
        for at in np.flatnonzero(new).tolist():
            row, key = rows[at], (int(rows["conv"][at]), int(forms[at]))
            if key in self._fine_forms:
                continue
            blocks = self._blocks.get((GOOSE, self.lens.conv(key[0])[4]))
            wrong = None
            if blocks and blocks[0].values >= 0 and int(row["count"]) == blocks[0].entries:
                wrong = blocks[0].mistyped(points["kind"][low[at] : high[at]])
                if wrong and len(found) < MAX_TOLD:
                    found.append(self._data(np.array([row]), blocks[0], wrong))
            elif blocks and blocks[0].values >= 0:
                continue  # another number of entries has been said already
            if wrong is None and len(self._fine_forms) < MAX_FINE:
                self._fine_forms.add(key)

    def _data(self, rows: npt.NDArray[Any], block: Block, wrong: Deviation) -> Finding:
        what, due, came = wrong
        return self._finding(
            "scl-data",
            Level.WARNING,
            rows,
            f"{block.title} carries other data than its data set says: {what} is {came}, engineered is {due}",
            f"{what}: {due}",
            f"{what}: {came}",
            CHANGED,
            "T0856",
        )

    def _resume(self, now: int) -> None:
        """At the start, and after a pause of the whole capture, in which nobody knows what happened."""
        self._began = now
        for blocks in self._blocks.values():
            for block in blocks:
                block.heard = now if block.heard >= 0 else -1

    def _silences(self, now: int) -> list[Finding]:
        """Publishers that should be heard and are not; said once per silence."""
        found: list[Finding] = []
        dark: set[str] = set()
        for blocks in self._blocks.values():
            for block in blocks[:1]:
                if block.silent or not self._overdue(block, now):
                    continue
                block.silent = True
                if block.heard < 0 and not self._heard_in(block.subnetwork):
                    if block.subnetwork not in dark and not self._publishers.dark(block.subnetwork):
                        dark.add(block.subnetwork)
                        found.append(self._unseen(block, now))
                    continue
                found.append(self._silent(block, now))
        return found

    def _heard_in(self, subnetwork: str) -> bool:
        return any(
            b.heard >= 0 for blocks in self._blocks.values() for b in blocks if b.subnetwork == subnetwork
        )

    def _overdue(self, block: Block, now: int) -> bool:
        if not block.destination:
            return False
        due = round(MISSED * block.max_ms * 1e6) if block.max_ms > 0 else NO_MAX_TIME
        if block.protocol == SV:
            due = LEAST_SILENCE
        due = max(due, LEAST_SILENCE)
        if block.heard < 0:
            return now - self._began > due
        # what the frames themselves promise, the GOOSE rules watch
        return now - block.heard > due and (block.protocol == SV or block.lifetime > due)

    def _silent(self, block: Block, now: int) -> Finding:
        since = block.heard if block.heard >= 0 else self._began
        heard = "was not heard" if block.heard < 0 else "is silent"
        due = (
            f"a frame within {block.max_ms:g} ms (MaxTime)" if block.max_ms > 0 else "published all the time"
        )
        return self._made(
            "scl-silent",
            Level.WARNING,
            block,
            now,
            f"{block.title} {heard} for {(now - since) / SECOND:.0f} s; engineered is {due}"
            + (f"; {block.subscribers} wait for it" if block.subscribers else ""),
            due,
            f"nothing for {(now - since) / SECOND:.0f} s",
            {"fault": 0.55, "attack": 0.2, "visibility": 0.25},
            "T0804",
        )

    def _unseen(self, block: Block, now: int) -> Finding:
        name = block.subnetwork or "without a name"
        return self._made(
            "scl-unseen",
            Level.NOTICE,
            block,
            now,
            f"no publisher of subnetwork {name} was heard: does the sensor see this network?",
            "the publishers of the station description",
            f"none for {(now - self._began) / SECOND:.0f} s",
            {"visibility": 0.8, "fault": 0.2},
            "",
        )

    def _who(self, source: str) -> str:
        return source or "somebody"

    def _finding(
        self,
        rule: str,
        level: Level,
        rows: npt.NDArray[Any],
        summary: str,
        expected: str,
        observed: str,
        scores: dict[str, float],
        technique: str,
    ) -> Finding:
        made = message_finding(
            NAME, rule, level, rows, summary, expected, observed, scores, technique, observed
        )
        made.hold, made.count, made.until = HOLD, len(rows), int(rows["ts"][-1]) if len(rows) > 1 else 0
        return made

    def _made(
        self,
        rule: str,
        level: Level,
        block: Block,
        now: int,
        summary: str,
        expected: str,
        observed: str,
        scores: dict[str, float],
        technique: str,
    ) -> Finding:
        """A finding about a stream that sent nothing."""
        made = LinkFinding(
            now,
            NAME,
            rule,
            level,
            likeliest(scores),
            self._ids[block.protocol],
            -1,
            -1,
            -1,
            summary,
            expected=expected,
            observed=observed,
            technique=technique,
            group=block.ref,
            scores=scores,
            hold=SILENCE_HOLD,
        )
        source = self._publishers.source_of(block)
        made.link = (
            block.protocol,
            source,
            block.destination,
            max(block.appid, 0),
            block.ref,
            max(block.vlan, 0),
        )
        return made


_WEIGHTS: Final = np.random.default_rng(61850).integers(1, 2**63, (256, 64), np.int64, endpoint=False)


def _forms(points: npt.NDArray[Any], low: npt.NDArray[Any], high: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """A number for the sequence of types of each message's values (sum of weights by type and place)."""
    weights = _WEIGHTS[points["kind"] & 0xFF, points["point"] & 0x3F] * ((points["point"] & 0xFFC0) | 1)
    sums = np.r_[np.int64(0), np.cumsum(weights)]
    return np.asarray((sums[high] - sums[low]) * 4_099 + (high - low), np.int64)


def _own_words(protocol: str, row: Any) -> tuple[Any, ...]:
    """What decides a verdict about a row, so that it is found once."""
    if protocol == SV and int(row["kind"]) == SV_WINDOW:  # frames and rate of a second tremble
        return (protocol, *row[COLUMNS[:-1]].item(), SV_WINDOW, rounded(int(row["aux"])))
    return (protocol, *row[COLUMNS].item())


def _listed(wrong: list[Deviation]) -> str:
    return "; ".join(f"{name} {came}, engineered is {due}" for name, due, came in wrong)

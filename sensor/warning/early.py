"""Early warning, window by window: alerts and scores in, levels, series and last signs of life out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from detectors.base import Alert, Reading
from detectors.groups import ConvKey, is_group_address
from sensor.config.schema import WarningConfig
from sensor.features.windows import WINDOW
from sensor.result import LEVELS
from sensor.run import score_of
from sensor.store.live import AssetHealthRow, LevelRow, LinkRow, Pending
from sensor.warning.levels import NORMAL, Level, Levels

SECOND: Final = 1_000_000_000
MAX_ALERTS: Final = 20_000
NAN: Final = float("nan")

K = TypeVar("K", bound=Hashable)


@dataclass(slots=True)
class WindowFacts:
    """What one closed window says.

    Attributes
    ----------
    start : int
        ns.
    spoke : dict of ConvKey to (int, float)
        Messages, and longest response time in s (-1 none), of every conversation that was heard.
    p_values : dict of ConvKey to float
        Of those that have a model.
    margins : list of (name, unit, ConvKey, value)
    """

    start: int
    spoke: dict[ConvKey, tuple[int, float]] = field(default_factory=dict)
    p_values: dict[ConvKey, float] = field(default_factory=dict)
    margins: list[tuple[str, str, ConvKey, float]] = field(default_factory=list)


@dataclass(slots=True)
class _Seen:
    """Signs of life of an asset or conversation."""

    first: float
    last: float
    messages: int = 0
    silent: bool = False
    told: bool = False
    client: str = ""
    server: str = ""


def label_of(key: ConvKey) -> str:
    """A conversation as series name it."""
    _, client, server, _, sub, _ = key
    return " ".join(part for part in (f"{client} → {server}", sub) if part)


class EarlyWarning:
    """Keeps levels and signs of life.

    Parameters
    ----------
    site : str
    settings : WarningConfig
    """

    def __init__(self, site: str, settings: WarningConfig) -> None:
        self.site, self.settings = site, settings
        self.level = Level()
        self._conversations = Levels(settings.max_conversations)
        self._assets = Levels(settings.max_assets)
        self._links: OrderedDict[tuple[str, str], _Seen] = OrderedDict()
        self._hosts: OrderedDict[str, _Seen] = OrderedDict()
        self._alerts: dict[str, tuple[int, Alert]] = {}
        self._over: set[str] = set()
        self.refused = 0

    def configure(self, site: str, settings: WarningConfig) -> None:
        """Other settings; levels and signs of life stay."""
        self.site, self.settings = site, settings
        self._conversations.most, self._assets.most = settings.max_conversations, settings.max_assets

    # --- alerts -------------------------------------------------------------------------------------

    def alert(self, alert: Alert, is_open: bool) -> None:
        """An alert opened, grew or closed; one that closed still counts in the next window."""
        if alert.reading == Reading.VISIBILITY.value:
            return
        if alert.id not in self._alerts and len(self._alerts) >= MAX_ALERTS:
            self.refused += 1
            return
        self._alerts[alert.id] = (LEVELS.index(alert.level), alert)
        if is_open:
            self._over.discard(alert.id)
        else:
            self._over.add(alert.id)

    # --- windows ------------------------------------------------------------------------------------

    def window(self, facts: WindowFacts) -> Pending:
        """Everything that is to be written about one window."""
        end = (facts.start + WINDOW) / SECOND
        out = Pending()
        scores: dict[tuple[str, str], float] = {}
        for key, p_value in facts.p_values.items():
            if p_value == p_value:
                name = (key[0], label_of(key))
                scores[name] = max(scores.get(name, 0.0), score_of(p_value))
        self._signs_of_life(facts, end, out)
        self._step_conversations(end, scores, facts, out)
        self._step_assets(end, scores, out)
        self._step_site(end, scores, out)
        for margin, unit, conv, value in facts.margins:
            out.samples.append(((margin, conv[0], label_of(conv), unit), end, value))
        for ident in self._over:
            self._alerts.pop(ident, None)
        self._over.clear()
        return out

    def figures(self) -> dict[str, float]:
        """For the health rows."""
        return {
            "conversations": float(len(self._links)),
            "assets": float(len(self._hosts)),
            "warning_refused": float(self.refused + self._conversations.refused + self._assets.refused),
        }

    def _step_conversations(
        self, end: float, scores: dict[tuple[str, str], float], facts: WindowFacts, out: Pending
    ) -> None:
        held: dict[tuple[str, str], tuple[int, str]] = {}
        spoke = {(key[0], *sorted(key[1:3])): label_of(key) for key in facts.spoke}
        for rank, alert in self._alerts.values():
            # it may have been sent by the server, and names no unit or stream
            pair = (alert.protocol, *sorted((alert.src, alert.dst)))
            name = (alert.protocol, spoke.get(pair, f"{alert.src} → {alert.dst}"))
            if alert.src and alert.dst and rank >= held.get(name, (-1, ""))[0]:
                held[name] = (rank, alert.rule)
        for name in dict.fromkeys([*scores, *held]):
            self._conversations.get(name)
        for name, level in self._conversations.items():
            score = scores.get(name, NAN)
            rank, rule = held.get(name, (NORMAL, ""))
            changed = level.step(end, score, rank, rule, self.settings.calm_windows)
            if score == score or changed or level.level:
                _tell(out, "conversation", name, level, end)

    def _step_assets(self, end: float, scores: dict[tuple[str, str], float], out: Pending) -> None:
        worst: dict[str, float] = {}
        for (_, label), score in scores.items():
            client, _, rest = label.partition(" → ")
            for host in (client, rest.partition(" ")[0]):
                if host and not is_group_address(host):
                    worst[host] = max(worst.get(host, 0.0), score)
        held: dict[str, tuple[int, str]] = {}
        for rank, alert in self._alerts.values():
            for host in (alert.src, alert.dst):
                if host and not is_group_address(host) and rank >= held.get(host, (-1, ""))[0]:
                    held[host] = (rank, alert.rule)
        for host in dict.fromkeys([*worst, *held]):
            self._assets.get(("", host))
        for name, level in self._assets.items():
            score = worst.get(name[1], NAN)
            rank, rule = held.get(name[1], (NORMAL, ""))
            changed = level.step(end, score, rank, rule, self.settings.calm_windows)
            if score == score or changed or level.level:
                _tell(out, "asset", name, level, end)

    def _step_site(self, end: float, scores: dict[tuple[str, str], float], out: Pending) -> None:
        ranked = [(rank, alert.rule) for rank, alert in self._alerts.values()]
        rank, rule = max(ranked, default=(NORMAL, ""))
        score = max(scores.values(), default=NAN)
        self.level.step(end, score, rank, rule, self.settings.calm_windows)
        _tell(out, "site", ("", self.site), self.level, end)

    # --- signs of life ------------------------------------------------------------------------------

    def _signs_of_life(self, facts: WindowFacts, end: float, out: Pending) -> None:
        hosts: dict[str, int] = {}
        for key, (messages, response) in facts.spoke.items():
            protocol, client, server = key[:3]
            label = label_of(key)
            seen = self._heard(self._links, (protocol, label), self.settings.max_conversations, end)
            if seen is not None:
                seen.client, seen.server = client, server
                seen.messages += messages
                out.samples.append((("messages", protocol, label, "1/window"), end, float(messages)))
                if response >= 0:
                    out.samples.append((("margin.response", protocol, label, "s"), end, response))
            for host in (client, server):
                if host and not is_group_address(host):
                    hosts[host] = hosts.get(host, 0) + messages
        for host, count in hosts.items():
            seen = self._heard(self._hosts, host, self.settings.max_assets, end)
            if seen is not None:
                seen.messages += count
        for name, seen in self._fallen(self._links, end):
            out.links[name] = LinkRow(
                *name, seen.client, seen.server, seen.first, seen.last, seen.messages, seen.silent
            )
        for host, seen in self._fallen(self._hosts, end):
            out.assets[host] = AssetHealthRow(host, seen.first, seen.last, seen.silent)

    def _heard(self, table: OrderedDict[K, _Seen], name: K, most: int, end: float) -> _Seen | None:
        seen = table.get(name)
        if seen is None:
            if len(table) >= most:
                oldest = next(iter(table))
                if not table[oldest].silent:
                    self.refused += 1
                    return None
                del table[oldest]
            seen = table[name] = _Seen(end, end)
        seen.last, seen.silent, seen.told = end, False, False
        table.move_to_end(name)
        return seen

    def _fallen(self, table: OrderedDict[K, _Seen], end: float) -> Sequence[tuple[K, _Seen]]:
        """Those that were heard, and those that have just been silent for too long."""
        found = []
        for name, seen in table.items():
            if not seen.silent and end - seen.last > self.settings.silent_after_s:
                seen.silent, seen.told = True, False
            if not seen.told:
                seen.told = True
                found.append((name, seen))
        return found


def _tell(out: Pending, scope: str, name: tuple[str, str], level: Level, end: float) -> None:
    row = LevelRow(
        scope, *name, level.level, level.fast, level.trend, level.since, end, level.cause
    )  # fmt: skip
    out.levels[scope, *name] = row
    protocol, words = name
    prefix, where = {
        "site": ("", ("", "")),
        "asset": ("asset.", ("", words)),
        "conversation": ("", (protocol, words)),
    }[scope]
    for what, value in (("level", float(level.level)), ("score", level.fast)):
        out.samples.append(((f"{prefix}{what}", *where, "1"), end, value))
    if level.level or scope == "site":
        out.samples.append(((f"{prefix}trend", *where, "1"), end, level.trend))

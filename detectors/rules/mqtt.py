"""MQTT: refused clients, one identity on two hosts, subscriptions to everything, wiped values, order, damage.

Standards followed: OASIS MQTT 3.1.1 and 5.0, sections 3.1 (CONNECT comes first and once: MQTT-3.1.0-1, -2; a
client identifier is used by one client: MQTT-3.1.4-2), 3.2 (CONNACK), 3.3.1.3 (a retained message without
payload removes what was retained) and 4.7 (topic filters).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from detectors.base import Level, Slice
from detectors.baseline import Baseline
from detectors.groups import Lens, in_order, runs
from detectors.rules.common import MAX_READ, Columns
from detectors.rules.shared import Openings, ProtocolRules, Rows, Rule, has, one
from grid_profiles.vocabulary import Flag, Role

NAME: Final = "mqtt"
CONNECT, CONNACK, PUBLISH, SUBSCRIBE = 1, 2, 3, 8
RETAINED: Final = 4
QOS: Final = 3
EVERYTHING: Final = frozenset({"#", "/#", "+/#", "+/+/#", "$SYS/#"})
FAILED, DENIED, STORM, WIPED, DAMAGED = 3, 5, 20, 5, 3

REFUSED = Rule("mqtt-refused", Level.WARNING, {"attack": 0.6, "operation": 0.3, "fault": 0.1}, "T0859")
NOT_ALLOWED = Rule("mqtt-denied", Level.WARNING, {"attack": 0.6, "operation": 0.4}, "T0888")
TAKEOVER = Rule("mqtt-takeover", Level.WARNING, {"attack": 0.6, "operation": 0.4}, "T0849")
ALL = Rule("mqtt-wildcard", Level.WARNING, {"attack": 0.55, "operation": 0.45}, "T0861", habit=1)
WIPE = Rule("mqtt-retained-wipe", Level.WARNING, {"attack": 0.6, "operation": 0.4}, "T0809")
ORDER = Rule("mqtt-order", Level.WARNING, {"attack": 0.65, "fault": 0.35}, "T0855")
STORMS = Rule("mqtt-connect-storm", Level.WARNING, {"attack": 0.5, "fault": 0.5}, "T0814")
BROKEN = Rule("mqtt-malformed", Level.WARNING, {"attack": 0.6, "fault": 0.4}, "T0814")


class MqttRules(ProtocolRules):
    """Checks MQTT control packets; published values pass by column."""

    protocol = NAME
    by_column = True

    def __init__(self, lens: Lens, baseline: Baseline | None = None) -> None:
        super().__init__(lens, baseline)
        self._failed, self._denied, self._storms = self.tally(60), self.tally(60), self.tally(60)
        self._wiped, self._damaged = self.tally(60), self.tally(10)
        self._owners, self._streams, self.openings = self.table(), self.table(), Openings(lens)

    def check_columns(self, columns: Columns, piece: Slice) -> None:
        """By kind; only what is rare is looked at one by one."""
        kinds, client = columns["kind"], columns["role"] == Role.CLIENT
        negative = columns.rows((columns["role"] == Role.SERVER) & has(columns, Flag.NEGATIVE))
        refused = negative["kind"] == CONNACK
        self.refusals(REFUSED, self._failed, negative.compress(refused), FAILED, "refused to connect")
        self.refusals(NOT_ALLOWED, self._denied, negative.compress(~refused), DENIED, "refused packets of")
        bad = columns.rows(client & has(columns, Flag.MALFORMED))
        self.refusals(BROKEN, self._damaged, bad, DAMAGED, "sent malformed packets to")
        opened = columns.rows(client & (kinds == CONNECT))
        self.refusals(STORMS, self._storms, opened, STORM, "connected to")
        self._order(columns.where(client & (columns["stream"] >= 0)))
        for row in opened[:MAX_READ]:
            self._owner(row)
        for row in columns.rows(client & (kinds == SUBSCRIBE))[:MAX_READ]:
            self._filter(row)
        self._wipes(columns.rows((kinds == PUBLISH) & client & (columns["aux"] >= RETAINED)))

    def _order(self, columns: Columns) -> None:
        """CONNECT comes first on a connection, and once."""
        order, streams = in_order(columns["stream"])
        first, sizes = runs(streams)
        if not len(first):
            return
        opens = columns["kind"].take(order) == CONNECT
        connects = np.add.reduceat(opens, first, dtype=np.int64)
        lists = (streams[first], first, sizes, connects)
        for stream, at, size, some in zip(*(values.tolist() for values in lists), strict=True):
            state = self._streams.get(stream)
            if state is None or some:
                mine = columns.rows(order[at : at + size])
                self._streams.put(stream, self._connection(mine, stream, state))

    def _connection(self, mine: Rows, stream: int, state: int | None) -> int:
        """A connection's first packets, or some with CONNECT among them; what is known of it now."""
        connects = np.flatnonzero(mine["kind"] == CONNECT)
        lost = not self.opened(stream) or has(mine[:1], Flag.MIDSTREAM | Flag.GAP)[0]
        if state is None and not lost and int(mine[0]["kind"]) not in (CONNECT, -1):
            self._wrong(mine[:1], f"{self.kind(mine[0])} before CONNECT", "CONNECT first")
        again = connects if state == CONNECT else connects[1:]
        if len(again):
            self._wrong(mine[again], "a second CONNECT on one connection", "one CONNECT")
        return CONNECT if len(connects) else state or 0

    def _wrong(self, rows: Rows, what: str, expected: str) -> None:
        text = f"{self.host(rows[0]['src'])} sent {what} to {self.host(rows[0]['dst'])}"
        self.say(ORDER, rows, text, expected, what)

    def _owner(self, row: Any) -> None:
        """A client identifier that another host used before at the same broker."""
        ident, src = int(row["ident"]), int(row["src"])
        if ident <= 0:
            return
        key = (int(row["dst"]), ident)
        owner = self._owners.get(key)
        self._owners.put(key, src)
        if owner is not None and owner != src:
            name, hosts = self.names.text(ident), (self.host(owner), self.host(src))
            text = f"{hosts[1]} connects to {self.host(row['dst'])} as {name}, as {hosts[0]} did before"
            self.say(TAKEOVER, one(row), text, f"{name} at {hosts[0]}", hosts[1], group=name)

    def _filter(self, row: Any) -> None:
        topic = self.names.text(int(row["name"]))
        bare = topic.split("/", 2)[2] if topic.startswith("$share/") and topic.count("/") > 1 else topic
        if bare in EVERYTHING:
            text = f"{self.host(row['src'])} subscribes to {topic}: everything that the broker carries"
            self.say(ALL, one(row), text, "filters for single topics", topic, pair=True, group=topic)

    def _wipes(self, rows: Rows) -> None:
        """Retained messages without payload, which delete what the broker kept."""
        if not len(rows):
            return
        rows = rows[np.isnan(rows["value"])][:MAX_READ]
        length = np.array([len(self.names.text(int(name)).encode()) for name in rows["name"]], np.int64)
        head = 4 + length + 2 * (rows["aux"] & QOS > 0)
        # MQTT 5 has an octet of properties more, and an alias may stand for the topic
        empty = (length > 0) & ((rows["size"] == head) | (rows["size"] == head + 1))
        self.refusals(WIPE, self._wiped, rows[empty], WIPED, "wiped retained values at")

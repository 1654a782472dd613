"""What the sensor saw: protocols, conversations, points with findings, devices. All bounded and counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from grid_profiles.vocabulary import DANGEROUS
from sensor.report import network, words
from sensor.report.charts import both, point_plot, share_bar
from sensor.report.markup import Child, Html, join, tag, wire
from sensor.result import AssetRow, ConversationRow, PointSeries, Result, level_rank

MOST_PROTOCOLS: Final = 16
MOST_CONVERSATIONS: Final = 20
MOST_ASSETS: Final = 60
MOST_POINTS: Final = 12
MOST_KINDS: Final = 6
MOST_FLAGS: Final = 40


def network_section(result: Result) -> Html:
    """Drawing of hosts and the table of conversations."""
    if not result.conversations:
        return tag("p", "No conversations were decoded.", class_="quiet")
    chosen = network.picture(result)
    rest = ""
    if chosen.unseen:
        rest = f"{words.counted(chosen.unseen, 'more pair')} of hosts with less traffic are not drawn."
    key = "Thickness: messages, by order of magnitude. A dashed or heavy coloured line carries alerts."
    return join(
        [
            both(lambda width: network.draw(chosen, width)),
            tag("p", f"{key} {rest}", class_="quiet"),
            _conversations(result.conversations),
        ]
    )


def protocols_section(result: Result) -> Html:
    """Share of each protocol in the packets."""
    rows = sorted(result.protocols, key=lambda row: (-row["packets"], row["name"]))
    if not rows:
        return tag("p", "No protocol was recognised.", class_="quiet")
    total = max(1, sum(row["packets"] for row in rows))
    cells = [
        [
            wire(row["name"]),
            share_bar(row["packets"] / total),
            f"{row['packets'] / total:.1%}",
            words.number(row["packets"]),
            words.number(row["messages"]),
            words.number(row["conversations"]),
        ]
        for row in rows[:MOST_PROTOCOLS]
    ]
    head = ["Protocol", "Share of packets", "", "Packets", "Messages", "Conversations"]
    return join([table(head, cells, numbers=(2, 3, 4, 5)), _rest(len(rows) - len(cells), "more protocol")])


def points_section(result: Result) -> Html:
    """Value plots of points that have findings."""
    drawable = [series for series in result.point_series if np.isfinite(series.values).any()]
    plots = [_point(series, result) for series in drawable[:MOST_POINTS]]
    return join([tag("div", *plots, class_="plots"), _rest(len(drawable) - len(plots), "more point")])


def assets_section(result: Result) -> Html:
    """Devices: addresses, vendor, roles, protocols, from when to when."""
    if not result.assets:
        return tag("p", "No devices were seen.", class_="quiet")
    rows = sorted(result.assets, key=lambda asset: (asset["first"], asset["mac"], asset["ip"]))
    cells = [_asset(asset) for asset in rows[:MOST_ASSETS]]
    head = ["MAC", "IP", "Vendor", "Roles", "Protocols", "Seen (UTC)"]
    return join([table(head, cells), _rest(len(rows) - len(cells), "more device")])


def table(head: Sequence[str], rows: Sequence[Sequence[Child]], numbers: Sequence[int] = ()) -> Html:
    """A table that scrolls inside itself on narrow screens; ``numbers`` are right-aligned columns."""

    def cell(name: str, column: int, content: Child, **attributes: str) -> Html:
        return tag(name, content, class_="n" if column in numbers else None, **attributes)

    top = tag("tr", *(cell("th", i, name, scope="col") for i, name in enumerate(head)))
    body = [tag("tr", *(cell("td", i, content) for i, content in enumerate(row))) for row in rows]
    return tag("div", tag("table", tag("thead", top), tag("tbody", *body)), class_="scroll", tabindex="0")


def _conversations(rows: Sequence[ConversationRow]) -> Html:
    ranked = sorted(rows, key=lambda row: (-_dangerous(row), -row["messages"], row["src"], row["dst"]))
    cells: list[list[Child]] = [
        [
            join([wire(row["src"]), " → ", wire(row["dst"])]),
            join([wire(row["protocol"]), " ", wire(row["sub"], "wire quiet")]),
            words.number(row["messages"]),
            words.size(row["bytes"]),
            _kinds(row),
        ]
        for row in ranked[:MOST_CONVERSATIONS]
    ]
    head = ["Conversation", "Protocol", "Messages", "Bytes", "Kinds of message"]
    rest = _rest(len(ranked) - len(cells), "more conversation")
    title = "Conversations, those that change the plant first"
    return tag("details", tag("summary", title), table(head, cells, numbers=(2, 3)), rest, class_="rest")


def _kinds(row: ConversationRow) -> Html:
    kinds = sorted(row["kinds"].items(), key=lambda item: -item[1])
    shown = [tag("span", wire(name), f" ×{words.number(count)}") for name, count in kinds[:MOST_KINDS]]
    classes = [tag("b", str(name)) for name in sorted(row["classes"]) if name in DANGEROUS]
    more = [f"and {len(kinds) - MOST_KINDS} more"] if len(kinds) > MOST_KINDS else []
    return join([*classes, *shown, *more], ", ")


def _dangerous(row: ConversationRow) -> int:
    return sum(count for name, count in row["classes"].items() if name in DANGEROUS)


def _asset(asset: AssetRow) -> list[Child]:
    return [
        wire(asset["mac"]),
        join([join((wire(ip) for ip in asset["ip"][:4]), ", "), _more(len(asset["ip"]) - 4)]),
        asset["vendor"],
        ", ".join(asset["roles"]),
        ", ".join(asset["protocols"][:6]) + _more(len(asset["protocols"]) - 6),
        words.stretch(asset["first"], asset["last"]),
    ]


def _more(count: int) -> str:
    return f" +{count}" if count > 0 else ""


def _point(series: PointSeries, result: Result) -> Html:
    flags = [(a.start, a.level) for a in result.alerts if a.point == series.point]
    flags = sorted(flags, key=lambda flag: -level_rank(flag[1]))[:MOST_FLAGS]
    low, high = ("none" if np.isnan(v) else f"{v:.4g}" for v in (series.low, series.high))
    band = "no band learned" if low == high == "none" else f"expected {low} to {high}"
    return tag(
        "figure",
        tag(
            "figcaption",
            wire(series.point),
            tag("span", f"{series.protocol} {series.conversation}", class_="quiet"),
            tag("span", band, class_="quiet"),
        ),
        both(lambda width: point_plot(series, flags, width)),
    )


def _rest(count: int, one: str) -> Html:
    text = f"{words.counted(count, one)} {'is' if count == 1 else 'are'} not shown."
    return tag("p", text, class_="quiet") if count > 0 else Html()

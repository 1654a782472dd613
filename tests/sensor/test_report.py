"""The report: nothing from a capture acts, everything is bounded, and one file is enough."""

from __future__ import annotations

import base64
import hashlib
import io
import itertools
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from result_samples import HOSTILE, START, alert, empty, hostile, quiet, storm, substation
from rich.console import Console

from detectors.base import Event
from grid_profiles.attack import technique_label
from sensor.errors import MissingToolError
from sensor.report import network, words
from sensor.report.charts import NARROW, WIDE, Axis, point_plot, reduce
from sensor.report.html import render, write_report
from sensor.report.markup import Html, escape, tag, visible
from sensor.report.text import print_summary
from sensor.result import PointSeries, Result

VOID = {"meta", "br", "input"}
ALLOWED = {
    *("html", "head", "body", "meta", "title", "style", "header", "main", "footer", "section", "article"),
    *("h1", "h2", "h3", "p", "b", "bdi", "span", "div", "time", "details", "summary", "figure", "figcaption"),
    *("dl", "dt", "dd", "ul", "ol", "li", "table", "thead", "tbody", "tr", "th", "td"),
    *("fieldset", "legend", "label", "input"),
    *("svg", "symbol", "use", "path", "rect", "line", "circle", "polyline", "text"),
}


class Page(HTMLParser):
    """Collects elements, attributes and text, and checks that every element is closed in order."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.ids: list[str] = []
        self._open: list[str] = []
        self.feed(source)
        self.close()
        assert not self._open

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append(name)
        self.attributes += attributes
        self.ids += [value or "" for key, value in attributes if key == "id"]
        if name not in VOID:
            self._open.append(name)

    def handle_endtag(self, name: str) -> None:
        assert self._open.pop() == name

    def handle_data(self, data: str) -> None:
        self.text += data


def check_harmless(source: str) -> Page:
    page = Page(source)
    assert set(page.elements) <= ALLOWED
    for key, value in page.attributes:
        assert not key.startswith("on")
        assert key not in ("style", "src", "srcset", "action", "formaction", "xlink:href")
        if key == "href":
            assert (value or "").startswith("#icon-")
    assert "http:" not in source
    assert "https:" not in source
    assert not any(c in source for c in "\u202e\u200b\x00\x1b\x07\u2028")
    assert source.encode("utf-8")
    assert len(page.ids) == len(set(page.ids))
    return page


@pytest.mark.parametrize("make", [substation, quiet, empty, storm, hostile, Result])
def test_every_report_is_well_formed_harmless_and_self_contained(make: type[Result]) -> None:
    check_harmless(render(make()))


def test_hostile_names_are_shown_as_text() -> None:
    source = render(hostile())
    assert "<img" not in source
    assert "<script" not in source
    assert "&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;" in source
    assert "\\u202eexe.elif\\x00\\x1b[31m\\u200b\\ud800" in source


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60), st.text(max_size=60), st.floats(), st.floats())
def test_any_text_and_time_gives_a_harmless_report(name: str, other: str, start: float, end: float) -> None:
    result = quiet()
    result.start, result.end = start, end
    result.alerts = [alert(1, summary=name, src=other, dst=name, start=start, end=end, level="alarm")]
    result.baseline, result.notes = other, [name]
    check_harmless(render(result))


def test_the_policy_allows_the_one_style_sheet_and_nothing_else() -> None:
    source = render(substation())
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', source)
    style = re.search(r"<style>(.*?)</style>", source, re.DOTALL)
    assert policy is not None
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy[1] == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    assert "url(" not in style[1]
    assert "@import" not in style[1]


def test_what_a_reader_needs_is_there() -> None:
    text = Page(render(substation())).text
    for part in (
        "Umspannwerk Süd",
        "2026-11-23 07:00:00 – 13:00:00 UTC (6 h)",
        "Alarm: look at this now",
        "Unknown laptop 10.20.0.77 took control",
        "T0855 Unauthorized Command Message",
        "commands from 10.20.0.10, 172.16.4.2",
        "2011480, 2011482, 2011490",
        "p = 2.4e-07",
        "84.2",
        "212 frames known to be lost",
        "Schweitzer Engineering Laboratories",
        "1 false alarms per day",
    ):
        assert part in text


def test_headings_do_not_skip_levels_and_sections_have_names() -> None:
    page = Page(render(substation()))
    levels = [int(name[1]) for name in page.elements if name in ("h1", "h2", "h3")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    labels = {value for key, value in page.attributes if key == "aria-labelledby"}
    assert labels <= set(page.ids)
    assert page.elements.count("section") == len(labels)


def test_a_storm_is_bounded_and_counted() -> None:
    source = render(storm(5_000))
    text = Page(source).text
    assert len(source) < 1_500_000
    assert "50 further incidents, not shown one by one" in text
    assert re.search(r"further alerts, not shown one by one", text)
    assert "5\N{NARROW NO-BREAK SPACE}000 alerts" not in text  # info records are not called alerts
    assert render(storm(20_000)).count("<article") == source.count("<article")


def test_silence_and_no_traffic_are_told_apart() -> None:
    assert "Nothing stood out" in Page(render(quiet())).text
    text = Page(render(empty())).text
    assert "No traffic to judge" in text
    assert "Nothing stood out" not in text


def test_frames_of_several_captures_carry_their_file() -> None:
    assert words.frames(alert(frames=[7, (1 << 40) + 9]), ["/x/a.pcap", "b.pcap"]) == "a.pcap 7, b.pcap 9"
    assert words.frames(alert(frames=list(range(20))), ["a.pcap"]).endswith("11 and 8 more")


def test_written_whole_with_ordinary_rights_and_nothing_left_beside(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    write_report(path, substation())
    assert path.read_text("utf-8") == render(substation())
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_places_where_no_report_can_be(tmp_path: Path) -> None:
    with pytest.raises(
        MissingToolError, match=r"report cannot be written: No such file.*Name a file"
    ) as caught:
        write_report(tmp_path / "none" / "r.html", empty())
    assert caught.value.exit_code == 4
    with pytest.raises(MissingToolError, match="Is a directory"):
        write_report(tmp_path, empty())
    (tmp_path / "r.html").mkdir()
    with pytest.raises(MissingToolError, match="Is a directory"):
        write_report(tmp_path / "r.html", empty())
    assert [entry.name for entry in tmp_path.iterdir()] == ["r.html"]


def test_the_network_draws_suspects_before_the_busy_and_counts_the_rest() -> None:
    chosen = network.picture(substation())
    assert chosen.pairs["10.20.0.77", "10.20.1.11"] == (14, 3)
    assert len(chosen.left) <= network.MOST
    assert len(chosen.right) <= network.MOST
    assert chosen.unseen > 0
    # the values' alert was sent by the outstation: it belongs to the conversation that its client opened
    assert chosen.pairs["10.20.0.10", "10.20.1.11"][1] == 2


FLOATS = st.floats(-1e300, 1e300)


@settings(deadline=None)
@given(st.lists(st.tuples(FLOATS, st.floats()), max_size=300), st.integers(1, 50))
def test_reduction_keeps_extremes(samples: list[tuple[float, float]], buckets: int) -> None:
    samples.sort()
    ts = np.array([t for t, _ in samples], float)
    values = np.array([v for _, v in samples], float)
    times, low, high = reduce(ts, values, buckets)
    finite = values[np.isfinite(values)]
    assert len(times) == len(low) == len(high) <= max(buckets, 0)
    if len(finite):
        assert low.min() == finite.min()
        assert high.max() == finite.max()


@settings(deadline=None)
@given(st.lists(st.floats(), min_size=1, max_size=40), st.floats(), st.floats())
def test_any_point_can_be_drawn(values: list[float], low: float, high: float) -> None:
    series = PointSeries("p", "modbus", "c", START + np.arange(len(values)), np.array(values), low, high)
    if np.isfinite(series.values).any():
        for width in (WIDE, NARROW):
            assert "nan" not in point_plot(series, [(START, "alarm")], width).replace("tname", "").lower()


@given(st.floats(0, 2e9), st.floats(0, 1e9))
def test_time_marks_lie_inside_and_are_few(start: float, span: float) -> None:
    axis = Axis(start, start + span, 78, WIDE)
    marks = axis.marks()
    assert len(marks) <= 12
    assert all(start - 1 <= mark <= start + max(span, 1e-3) + 1 for mark in marks)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.042, "42 ms"),
        (5, "5 s"),
        (59.96, "60 s"),
        (65, "1 min 5 s"),
        (3600, "1 h"),
        (97_200, "1 d 3 h"),
        (-1, "–"),
    ],
)
def test_durations(seconds: float, said: str) -> None:
    assert words.lasting(seconds) == said


def test_times_that_are_none() -> None:
    assert [words.moment(t) for t in (float("nan"), float("inf"), -1e300, 1e300)] == ["–"] * 4
    assert words.moment(START + 0.0005, 3) == "2026-11-23 07:00:00.000"


def test_text_is_escaped_unless_it_is_html() -> None:
    assert tag("p", "<b>", Html("<b>")) == "<p>&lt;b&gt;<b></p>"
    assert tag("p", f"{Html('<b>')}") == "<p>&lt;b&gt;</p>"  # an f-string is plain text again
    assert tag("p", title='"><script>') == '<p title="&quot;&gt;&lt;script&gt;"></p>'
    assert escape("a" * 500).endswith("(100 more characters)")
    assert visible("a\tb\n\u061c") == "a\\x09b\\x0a\\u061c"
    with pytest.raises(ValueError, match="no style attributes"):
        tag("p", style="color:red")


def test_technique_names() -> None:
    assert technique_label("T0814") == "T0814 Denial of Service"
    assert technique_label("T9999") == "T9999"


@pytest.mark.parametrize("make", [substation, quiet, empty, storm, hostile, Result])
def test_the_terminal_summary_is_bounded_and_harmless(make: type[Result]) -> None:
    stream = io.StringIO()
    print_summary(Console(file=stream, width=100, color_system=None), make())
    text = stream.getvalue()
    assert not any(c in text for c in "\x1b\x00\u202e\u200b")
    assert text.count("\n") < 200


def test_the_terminal_summary_does_not_read_markup_in_names() -> None:
    result = substation()
    result.alerts = [alert(summary="[bold red]x[/] [link=http://e]y")]
    result.notes = [HOSTILE]
    stream = io.StringIO()
    print_summary(Console(file=stream, width=200, color_system=None), result)
    assert "[bold red]x[/]" in stream.getvalue()


def test_events_have_a_table_of_their_own() -> None:
    result = substation()
    result.events = [
        Event("e1", "reconnect", START, START + 60, f"opened again {HOSTILE}", ["10.0.0.1"], ["iec104"]),
        Event("e2", "pause", START + 90, START + 99, "no frame", [], [], explained={"silence": 3}),
    ]
    page = render(result)
    assert ">Events</h2>" in page
    assert "3 silence" in page
    assert "<img src=x" not in page
    assert ">Events</h2>" not in render(substation())

"""docs/influx.md and the dashboard: every InfluxQL query is run against a real server and finds something."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import one_sink
from servers import Certs, Front, Influx
from stores import forward_all

from detectors.base import Incident
from sensor.result import PointSeries, Result, Series
from sensor.store.sqlite import Store
from tests.sensor.result_samples import alert

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "influx.md").read_text("utf-8").replace("'uw-nord'", "'UW Nord'")  # the site of these tests
QUERIES = [block.split("```")[0].strip() for block in PAGE.split("```influxql\n")[1:]]
BOARD = json.loads((DOCS / "dashboards" / "sites.json").read_text("utf-8"))
LABEL = "10.20.0.10 → 10.20.1.11"


def site_of_today() -> Result:
    """A little of everything that a running sensor writes, in the last minutes."""
    ts = np.arange(np.floor(time.time()) - 300, np.floor(time.time()), 10.0)
    ramp = np.linspace(0, 3, len(ts))

    def series(name: str, label: str = "", unit: str = "1", protocol: str = "") -> Series:
        return Series(name, label, protocol, unit, ts, ramp)

    alerts = [
        alert(n, start=ts[n], end=ts[n] + 2, level=level, src="10.20.0.10", dst="10.20.1.11", p_value=0.001)
        for n, level in enumerate(("notice", "alarm", "alarm"))
    ]
    return Result(
        alerts=alerts,
        incidents=[
            Incident("i1", ts[0], ts[9], "alarm", "attack", "one", ["10.20.1.11"], ["iec104"], ["a00001"])
        ],
        series=[
            *(series(name) for name in ("level", "score", "trend")),
            *(series(name, LABEL, protocol="iec104") for name in ("level", "score")),
            series("margin.goose_tal", LABEL, protocol="goose"),
            series("margin.iec104_t1", LABEL, "s", "iec104"),
            series("messages", LABEL, "1/window", "iec104"),
            series("asset.level", "10.20.1.11"),
            series("health.uptime_s", unit="s"),
            series("health.rss_mib", unit="MiB"),
            series("health.drops"),
            series("health.drops", "eth1"),
            series("health.given_up", "soc"),
        ],
        point_series=[PointSeries("CA 1 IOA 4005", "iec104", LABEL, ts, ramp, 0.0, 2.0)],
    )


@pytest.fixture(scope="module")
def filled(influx: Influx, front: Front, certs: Certs, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database that holds the site of today, written by the sink."""
    folder = tmp_path_factory.mktemp("today")
    (folder / "token").write_text(Front.TOKEN)
    (folder / "token").chmod(0o600)
    influx.query("CREATE DATABASE today")
    with Store.open(folder / "a.db") as store:
        store.write(site_of_today())
    sink = one_sink(
        type="influx",
        url=front.url,
        bucket="today",
        token_file=str(folder / "token"),
        ca_file=str(certs.ca),
    )
    forward_all(folder / "a.db", sink)
    return "today"


@pytest.mark.parametrize("query", QUERIES, ids=[f"query{n}" for n in range(len(QUERIES))])
def test_every_query_of_the_page_finds_something(query: str, influx: Influx, filled: str) -> None:
    rows = influx.rows(query, filled)
    values = [value for row in rows for key, value in row.items() if key != "time"]
    assert any(value not in (None, "", 0) for value in values), rows


def dashboard_queries() -> list[tuple[str, str]]:
    found = [(panel["title"], target["query"]) for panel in BOARD["panels"] for target in panel["targets"]]
    found += [(v["name"], v["query"]) for v in BOARD["templating"]["list"] if v["type"] == "query"]
    return found + [(a["name"], a["query"]) for a in BOARD["annotations"]["list"]]


@pytest.mark.parametrize(("title", "query"), dashboard_queries())
def test_every_query_of_the_dashboard_finds_something(
    title: str, query: str, influx: Influx, filled: str
) -> None:
    """With Grafana's variables as it fills them in for All."""
    for name, value in (
        ("$timeFilter", "time > now() - 24h"),
        ("$__interval", "1m"),
        ("$site", ".*"),
        ("$conversation", re.escape(LABEL).replace("\\ ", " ")),
    ):
        query = query.replace(name, value)
    assert "$" not in query.replace("$/", ""), title
    rows = influx.rows(query, filled)
    assert any(value not in (None, "", 0) for row in rows for key, value in row.items() if key != "time"), (
        rows
    )


def test_the_schema_of_the_page_is_the_schema_in_the_server(influx: Influx, filled: str) -> None:
    table = {
        cells[1].strip().strip("`"): cells
        for cells in (line.split("|") for line in PAGE.split("## ")[1].splitlines())
        if len(cells) == 6 and cells[1].strip().startswith("`")
    }
    names = {row["name"] for row in influx.rows("SHOW MEASUREMENTS", filled)}
    assert names == set(table) - {"gridwarden_test"}

    def said(cell: str) -> set[str]:
        return set(re.findall(r"`(\w+)", cell))

    for name in names:
        tags = {row["tagKey"] for row in influx.rows(f'SHOW TAG KEYS FROM "{name}"', filled)}
        fields = {row["fieldKey"] for row in influx.rows(f'SHOW FIELD KEYS FROM "{name}"', filled)}
        assert tags <= said(table[name][3]), name
        fields = {"margin" if field.startswith("margin") else field for field in fields}
        assert fields <= said(table[name][4]), name


def test_the_current_point_of_an_alert_is_the_only_one_counted(influx: Influx, filled: str) -> None:
    (row,) = influx.rows('SELECT count("id") AS n FROM "alert" WHERE "current" = true', filled)
    assert row["n"] == 3


def test_the_dashboard_is_complete() -> None:
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(ids) == len(set(ids))
    check: Callable[[dict[str, Any]], bool] = lambda p: p["gridPos"]["x"] + p["gridPos"]["w"] <= 24  # noqa: E731
    assert all(map(check, BOARD["panels"]))

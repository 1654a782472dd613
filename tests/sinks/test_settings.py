"""Settings of sinks: every mistake is named with key, value and remedy; good values come out right."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensor.sinks.secret import Secret
from sensor.sinks.settings import (
    TYPES,
    InfluxSettings,
    JsonlSettings,
    MqttSettings,
    SyslogSettings,
    WebhookSettings,
    parse_sinks,
)

DOCS = Path(__file__).parents[2] / "docs"
GOOD: dict[str, dict[str, object]] = {
    "influx": {"url": "https://db:8086", "bucket": "site"},
    "syslog": {"host": "siem", "port": 6514},
    "webhook": {"url": "https://soc/hook", "secret_file": "secret"},
    "mqtt": {"host": "broker"},
    "jsonl": {"path": "out.jsonl"},
}


@pytest.mark.parametrize("kind", TYPES)
def test_the_least_that_is_enough(kind: str) -> None:
    (sink,), problems = parse_sinks([{"type": kind} | GOOD[kind]], site="S", sensor="x", base=Path("/etc/gw"))
    assert problems == []
    assert type(sink) is TYPES[kind]
    assert (sink.name, sink.site, sink.sensor) == (kind, "S", "x")


def test_values_are_what_was_written() -> None:
    sinks, problems = parse_sinks(
        [
            {"type": "influx", **GOOD["influx"], "name": "a", "token_credential": "token", "max_age": "7d"},
            {
                "type": "syslog",
                **GOOD["syslog"],
                "max_bytes": "20MB",
                "min_level": "alarm",
                "transport": "udp",
            },
            {"type": "webhook", **GOOD["webhook"], "timeout": 3, "send": ["levels", "alerts"]},
            {"type": "mqtt", **GOOD["mqtt"], "username": "u", "password_file": "/run/p"},
            {"type": "jsonl", **GOOD["jsonl"], "rotate_bytes": "1MiB", "retry_most": "90s"},
        ],
        base=Path("/etc/gw"),
    )
    assert problems == []
    influx, syslog, webhook, mqtt, jsonl = sinks
    assert isinstance(influx, InfluxSettings)
    assert (influx.max_age, influx.token, influx.batch) == (604_800.0, Secret(credential="token"), 5_000)
    assert isinstance(syslog, SyslogSettings)
    assert (syslog.max_bytes, syslog.min_level) == (20_000_000, 3)
    assert isinstance(webhook, WebhookSettings)
    assert (webhook.timeout, webhook.send) == (3.0, ("alerts", "levels"))
    assert webhook.secret == Secret(file=Path("/etc/gw/secret"))
    assert isinstance(mqtt, MqttSettings)
    assert mqtt.password == Secret(file=Path("/run/p"))
    assert isinstance(jsonl, JsonlSettings)
    assert (jsonl.rotate_bytes, jsonl.path) == (2**20, Path("/etc/gw/out.jsonl"))


@pytest.mark.parametrize(
    ("table", "key", "words"),
    [
        ({"type": "influxdb"}, "type", "choose one of influx"),
        ({}, "type", "choose one of"),
        ({"type": "influx", "bucket": "b"}, "url", "is missing"),
        ({"type": "influx", "url": "ftp://x", "bucket": "b"}, "url", "does not begin with https"),
        ({"type": "influx", "url": "https://u:p@x", "bucket": "b"}, "url", "user or a password"),
        ({"type": "influx", "url": "https://x:99999", "bucket": "b"}, "url", "is no address"),
        ({"type": "influx", "url": "http://10.0.0.1:8086", "bucket": "b"}, "url", "allow_plaintext"),
        ({"type": "influx", **GOOD["influx"], "token": "abc"}, "token", "token_file"),
        ({"type": "influx", **GOOD["influx"], "tokn_file": "abc"}, "tokn_file", "did you mean token_file"),
        ({"type": "influx", **GOOD["influx"], "gzip": "yes"}, "gzip", "neither true nor false"),
        ({"type": "influx", **GOOD["influx"], "max_age": "3 weeks"}, "max_age", "is no duration"),
        ({"type": "influx", **GOOD["influx"], "max_bytes": -1}, "max_bytes", "outside"),
        ({"type": "influx", **GOOD["influx"], "max_bytes": True}, "max_bytes", "is no size"),
        ({"type": "influx", **GOOD["influx"], "send": ["alert"]}, "send", "is no list of alerts"),
        ({"type": "influx", **GOOD["influx"], "min_level": "high"}, "min_level", "info, notice, warning"),
        ({"type": "influx", **GOOD["influx"], "name": "../x"}, "name", "is no name"),
        ({"type": "influx", **GOOD["influx"], "retry_first": "1h"}, "retry_first", "above retry_most"),
        ({"type": "syslog", "host": "a b", "port": 514}, "host", "is no host"),
        ({"type": "syslog", "host": "a", "port": 70_000}, "port", "is no port"),
        ({"type": "syslog", "host": "a", "port": 514, "cert_file": "c"}, "cert_file", "key_file"),
        ({"type": "webhook", "url": "https://x"}, "secret_file", "is missing"),
        ({"type": "webhook", **GOOD["webhook"], "secret_credential": "a"}, "secret_credential", "twice"),
        ({"type": "mqtt", "host": "b", "tls": False}, "tls", "in the clear"),
        ({"type": "mqtt", "host": "b", "topic": "a/#"}, "topic", "is no topic"),
        ({"type": "mqtt", "host": "b", "username": "u"}, "username", "password_file"),
        ({"type": "jsonl", "path": ""}, "path", "is no text"),
    ],
)  # fmt: skip
def test_each_mistake_is_named(table: dict[str, object], key: str, words: str) -> None:
    sinks, problems = parse_sinks([table])
    assert sinks == []
    found = [problem for problem in problems if problem.key == key]
    assert found, problems
    assert words.lower() in str(found[0]).lower()
    assert found[0].remedy


def test_all_mistakes_are_told_at_once_and_secrets_are_not_repeated() -> None:
    tables = [{"type": "mqtt", "port": 0, "password": "hunter2"}, {"type": "jsonl"}, 5]
    problems = parse_sinks(tables)[1]
    assert {p.place for p in problems} == {"[[sink]] 1 (mqtt)", "[[sink]] 2 (jsonl)", "[[sink]] 3"}
    assert "hunter2" not in " ".join(map(str, problems))


def test_two_sinks_of_one_name_are_refused() -> None:
    problems = parse_sinks([{"type": "jsonl", "path": "a"}, {"type": "jsonl", "path": "b"}])[1]
    assert "used twice" in str(problems[0])


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    ),
    st.sampled_from([*TYPES, None]),
)
def test_nothing_that_toml_can_hold_raises(value: object, kind: str | None) -> None:
    parse_sinks(value)
    parse_sinks([value])
    if kind is not None:
        from sensor.sinks.checks import checks_of

        for key in checks_of(kind, Path()):
            parse_sinks([{"type": kind} | GOOD[kind] | {key: value}])


def test_every_table_in_the_documentation_is_right_and_every_key_is_explained() -> None:
    from sensor.sinks.checks import checks_of

    page = (DOCS / "sinks.md").read_text("utf-8")
    blocks = [part.split("```")[0] for part in page.split("```toml\n")[1:]]
    found = [table for block in blocks for table in tomllib.loads(block).get("sink", [])]
    assert {table["type"] for table in found} == set(TYPES)
    assert parse_sinks(found)[1] == []
    for kind in TYPES:
        for key in checks_of(kind, Path()):
            assert re.search(rf"\b{key}\b", page), key

"""Syslog by UDP, TCP and TLS to a listener of our own that reads RFC 5424 and octet counting strictly."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from conftest import one_sink
from receivers import Syslog
from servers import Certs, wait_for
from stores import Running, alerts, depth, forward_all, write

from sensor.sinks.base import Unavailable
from sensor.sinks.settings import SyslogSettings
from sensor.store.sqlite import Store
from tests.sensor.result_samples import HOSTILE, alert, substation


@contextmanager
def listening(transport: str, certs: Certs | None = None) -> Iterator[Syslog]:
    server = Syslog(transport, certs)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def target(server: Syslog, ca: Certs | None = None, **more: object) -> SyslogSettings:
    table = {"type": "syslog", "host": "localhost", "port": server.port, "min_level": "info"} | more
    if ca is not None:
        table["ca_file"] = str(ca.ca)
    sink = one_sink(transport=server.transport, **table)
    assert isinstance(sink, SyslogSettings)
    return sink


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
@pytest.mark.parametrize("form", ["cef", "json"])
def test_every_alert_arrives_well_formed(transport: str, form: str, certs: Certs, tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    result = substation()
    with Store.open(path) as store:
        store.write(result)
    with listening(transport, certs if transport == "tls" else None) as server:
        sink = target(server, certs, format=form)
        assert forward_all(path, sink) == 27
        wait_for(lambda: len(server.messages) == 27)
        assert server.broken == []
    for priority, stamp, host, _, kind, content in server.messages:
        assert int(priority) >> 3 == 13
        assert datetime.fromisoformat(stamp.decode()).year == 2026
        assert host == b"s1"
        assert kind in (b"alert", b"incident")
        if form == "json":
            assert json.loads(content)["site"] == "UW Nord"
        else:
            assert content.startswith(b"\xef\xbb\xbfCEF:0|Gridwarden|Gridwarden|")


def test_cef_fields_cannot_be_forged(tmp_path: Path) -> None:
    evil = "a|b\\c=d\nCEF:0|Forged|x src=6.6.6.6 " + HOSTILE
    write(tmp_path / "a.db", [alert(1, level="alarm", summary=evil, observed=evil, src="10.0.0.9", dst=evil)])
    with listening("tcp") as server:
        forward_all(tmp_path / "a.db", target(server))
        wait_for(lambda: server.messages)
    text = server.messages[0][-1].decode().removeprefix("\ufeff")
    head = re.split(r"(?<!\\)\|", text, maxsplit=7)
    assert len(head) == 8
    assert head[5].startswith("a\\|b\\\\c=d CEF:0\\|Forged\\|x src=6.6.6.6")
    assert head[6] == "9"
    keys = re.findall(r"(?:^| )(\w+)(?<!\\)=", head[7])
    assert len(re.findall(r"(?:^| )src=10\.0\.0\.9 ", head[7])) == 1
    assert "dhost" in keys
    assert "\n" not in text
    assert not any(ord(c) < 32 for c in text)


@pytest.mark.parametrize("form", ["cef", "json"])
def test_a_long_message_is_cut_and_still_whole(form: str, tmp_path: Path) -> None:
    long = [alert(1, summary="ä" * 3_000, observed="ö" * 9_000, expected="ü" * 9_000)]
    write(tmp_path / "a.db", long)
    with listening("tcp") as server:
        forward_all(tmp_path / "a.db", target(server, format=form, max_message=1_024))
        wait_for(lambda: server.messages)
    content = server.messages[0][-1]
    assert len(content) < 1_024
    if form == "json":
        assert json.loads(content)["id"] == "a00001"
    else:
        content.decode("utf-8")


def test_a_certificate_of_a_stranger_gets_nothing(certs: Certs, strangers: Certs, tmp_path: Path) -> None:
    write(tmp_path / "a.db", alerts(3))
    with listening("tls", strangers) as server:
        with pytest.raises(Unavailable, match="not trusted"):
            forward_all(tmp_path / "a.db", target(server, certs))
        assert server.messages == []
        assert depth(tmp_path / "a.db", target(server, certs)) == 3


@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_away_and_back_nothing_lost(transport: str, certs: Certs, tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with listening(transport, certs if transport == "tls" else None) as server:
        sink = target(server, certs)
        with Running(path, sink) as running:
            for turn in range(5):
                write(path, alerts(40, 40 * turn), tag=str(turn))
                running.forwarder.poke()
                wait_for(lambda: running.status()["depth"] == 0)
                if turn < 4:
                    server.stop()
                    write(path, alerts(5, 1_000 + 5 * turn), tag=f"down{turn}")
                    running.forwarder.poke()
                    wait_for(lambda: running.status()["state"] == "waiting")
                    server.start()
        expected = {f"a{n:05}" for n in (*range(200), *range(1_000, 1_020))}
        wait_for(lambda: set(server.idents()) == expected, what="all alerts")
        assert server.broken == []


def test_a_receiver_that_does_not_read_counts_as_not_sent(tmp_path: Path) -> None:
    """What the receiver's kernel has not acknowledged stays due."""
    path = tmp_path / "a.db"
    big = [alert(n, level="warning", summary="x" * 500, frames=[1] * 20) for n in range(20_000)]
    write(path, big)
    with listening("tcp") as server:
        server.reading.clear()
        sink = replace(target(server, batch=5_000), timeout=1.0)
        with pytest.raises(Unavailable):
            forward_all(path, sink)
        waiting = depth(path, sink)
        assert 0 < waiting <= 20_000
        server.reading.set()
        forward_all(path, sink)
        wait_for(lambda: len(set(server.idents())) == 20_000, what="all alerts")


def test_samples_and_incidents_are_cef_too(tmp_path: Path) -> None:
    with Store.open(tmp_path / "a.db") as store:
        store.write(substation())
    with listening("tcp") as server:
        sink = target(server, send=["incidents", "levels"], batch=1_000)
        forward_all(tmp_path / "a.db", sink)
        wait_for(lambda: len(server.messages) == 3 + 2_160)
        assert server.broken == []
    kinds = [message[4] for message in server.messages]
    assert kinds.count(b"incident") == 3
    assert b"cs2Label=hosts cs2=10." in next(m[-1] for m in server.messages if m[4] == b"incident")

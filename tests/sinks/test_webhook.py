"""Webhook: a small HTTPS server of our own that verifies as docs/sinks.md tells a receiver to."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import one_sink
from receivers import Http
from servers import Certs, wait_for
from stores import Running, alerts, depth, forward_all, write

from sensor.sinks.base import Unavailable
from sensor.sinks.settings import WebhookSettings
from sensor.store.outbox import Outbox
from tests.sensor.result_samples import HOSTILE, alert

SECRET = "a-shared-secret"


@pytest.fixture
def server(certs: Certs) -> Iterator[Http]:
    http = Http(certs)
    http.start()
    yield http
    http.stop()


@pytest.fixture
def target(server: Http, certs: Certs, secret: Callable[[str], str]) -> WebhookSettings:
    sink = one_sink(
        type="webhook", url=server.url, secret_file=secret(SECRET), ca_file=str(certs.ca), min_level="info"
    )
    assert isinstance(sink, WebhookSettings)
    return sink


def verify(headers: dict[str, str], body: bytes) -> None:
    """What docs/sinks.md tells a receiver to do."""
    stamp = headers["X-Gridwarden-Timestamp"]
    assert abs(time.time() - int(stamp)) < 300
    digest = hmac.new(SECRET.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    assert hmac.compare_digest(headers["X-Gridwarden-Signature"], f"sha256={digest}")


def received(server: Http) -> list[dict[str, object]]:
    return [record for _, _, body in server.requests for record in json.loads(body)["records"]]


def test_signed_json_that_a_receiver_can_verify(
    server: Http, target: WebhookSettings, tmp_path: Path
) -> None:
    write(tmp_path / "a.db", [*alerts(250), alert(999, level="alarm", summary=HOSTILE)])
    assert forward_all(tmp_path / "a.db", target) == 251
    for _, headers, body in server.requests:
        verify(headers, body)
        assert len({r["level"] for r in json.loads(body)["records"]}) == 1
    got = received(server)
    assert len({record["id"] for record in got}) == len(got) == 251
    assert [r["level"] for r in got[:2]] == ["alarm", "alarm"]  # the loudest first
    assert [r for r in got if "onerror" in str(r["summary"])]
    with pytest.raises(AssertionError):
        verify(server.requests[0][1], server.requests[0][2] + b" ")


def test_a_poison_record_is_found_by_halving(server: Http, target: WebhookSettings, tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    write(path, alerts(400, level="warning"))

    def answer(body: bytes, _: object) -> tuple[int, dict[str, str], bytes]:
        if b'"a00077"' in body or b'"a00201"' in body:
            return 422, {}, b"cannot read one of these\n"
        kept.extend(json.loads(body)["records"])
        return 200, {}, b""

    kept: list[dict[str, object]] = []
    server.answer = answer
    assert forward_all(path, target) == 400
    ids = [r["id"] for r in kept if r["record"] == "alert"]
    assert len(ids) == len(set(ids)) == 398
    assert ids == sorted(ids)  # order survives
    assert [r["record"] for r in kept].count("test") == 2  # one proof per batch that held a culprit
    with Outbox.open(path, "webhook", ()) as outbox:
        letters = outbox.dead_letters()
    assert sorted(letter["ident"] for letter in letters) == ["a00077", "a00201"]
    assert letters[0]["reason"] == "HTTP 422: cannot read one of these"
    assert json.loads(letters[0]["record"])["summary"]


def test_a_sink_that_refuses_everything_kills_no_record(
    server: Http, target: WebhookSettings, tmp_path: Path
) -> None:
    path = tmp_path / "a.db"
    write(path, alerts(100, level="warning"))
    server.answer = lambda *_: (400, {}, b"no")
    with pytest.raises(Unavailable, match="a test record too"):
        forward_all(path, target)
    assert depth(path, target) == 100
    assert len(server.requests) == 2
    with Outbox.open(path, "webhook", ()) as outbox:
        assert outbox.dead_count() == 0


def test_a_limit_of_size_is_met_by_smaller_batches(
    server: Http, target: WebhookSettings, tmp_path: Path
) -> None:
    path = tmp_path / "a.db"
    write(path, alerts(100, level="warning"))
    server.answer = lambda body, _: (413 if len(body) > 8_000 else 204, {}, b"")
    assert forward_all(path, target) == 100
    with Outbox.open(path, "webhook", ()) as outbox:
        assert outbox.dead_count() == 0
        assert outbox.sent() == 100


def test_nothing_but_culprits_is_bounded_per_round_and_lets_alarms_pass(
    server: Http, target: WebhookSettings, tmp_path: Path
) -> None:
    path = tmp_path / "a.db"
    write(path, alerts(500, level="notice"))
    server.answer = lambda body, _: (400 if b'"notice"' in body else 204, {}, b"")
    from sensor.sinks.delivery import MAX_REQUESTS
    from sensor.sinks.pump import Pump

    with Pump(path, replace(target, batch=500)) as pump:
        assert 0 < pump.step() < 500
        assert len(server.requests) <= MAX_REQUESTS + 1
        write(path, [alert(900, level="alarm")], tag="b")
        pump.step()
        assert b'"a00900"' in server.requests[-1][2]
        while pump.step():
            pass
        assert pump.outbox.dead_count() == 500


def test_waiting_as_long_as_the_server_asks(server: Http, target: WebhookSettings, tmp_path: Path) -> None:
    write(tmp_path / "a.db", alerts(1))
    server.answer = lambda *_: (503, {"Retry-After": "3000"}, b"")
    with Running(tmp_path / "a.db", target) as running:
        wait_for(lambda: running.status()["failures"])
        wait = float(str(running.status()["next_try"])) - float(str(running.status()["last_error_at"]))
        assert 2_999 < wait < 3_001
        running.forwarder.poke()  # does not shorten it
        wait_for(lambda: len(server.requests) == 1)
    assert len(server.requests) == 1


def test_a_redirect_is_not_followed(server: Http, target: WebhookSettings, tmp_path: Path) -> None:
    write(tmp_path / "a.db", alerts(1))
    server.answer = lambda *_: (302, {"Location": server.url + "/else"}, b"")
    with pytest.raises(Unavailable, match="redirects elsewhere"):
        forward_all(tmp_path / "a.db", target)
    assert len(server.requests) == 1


def test_a_certificate_of_a_stranger_gets_nothing(
    strangers: Certs, target: WebhookSettings, tmp_path: Path
) -> None:
    impostor = Http(strangers)
    impostor.start()
    write(tmp_path / "a.db", alerts(1))
    with pytest.raises(Unavailable, match="not trusted"):
        forward_all(tmp_path / "a.db", replace(target, url=impostor.url))
    impostor.stop()
    assert impostor.requests == []


def test_away_and_back(server: Http, target: WebhookSettings, tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with Running(path, target) as running:
        for turn in range(5):
            server.stop()
            write(path, alerts(30, 30 * turn), tag=str(turn))
            running.forwarder.poke()
            wait_for(lambda: running.status()["state"] == "waiting")
            server.start()
            wait_for(lambda: running.status()["depth"] == 0)
    ids = [record["id"] for record in received(server)]
    assert sorted(ids) == sorted(f"a{n:05}" for n in range(150))

"""Fixtures of the sinks: servers that run for the session, stores with made-up results, settings."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import Certs, Front, Influx, Mosquitto, Victoria, missing

from sensor.sinks.settings import SinkSettings, parse_sinks

_NUMBERS = itertools.count(1)


def _need(*programs: str) -> None:
    remedy = missing(*programs)
    if remedy:
        pytest.skip(f"not installed: {remedy} (make sinklab does it)")


@pytest.fixture(scope="session")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Certs:
    """Certificates of an authority that the tests trust."""
    _need("openssl")
    return Certs(tmp_path_factory.mktemp("certs"))


@pytest.fixture(scope="session")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Certs:
    """Certificates of an authority that nobody trusts."""
    _need("openssl")
    return Certs(tmp_path_factory.mktemp("strangers"))


@pytest.fixture(scope="session")
def influx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Influx]:
    """influxd 1.x itself."""
    _need("influxd", "nginx")
    server = Influx(tmp_path_factory.mktemp("influx"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def front(influx: Influx, certs: Certs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """The v2 write API before influxd, by TLS."""
    server = Front(tmp_path_factory.mktemp("front"), influx.port, certs)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def bucket(influx: Influx) -> str:
    """A fresh database."""
    name = f"site{next(_NUMBERS)}"
    influx.query(f'CREATE DATABASE "{name}"')
    return name


@pytest.fixture
def victoria(tmp_path: Path) -> Iterator[Victoria]:
    """victoria-metrics, which a test may stop and start."""
    _need("victoria-metrics")
    server = Victoria(tmp_path / "victoria")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def mosquitto(tmp_path: Path, certs: Certs) -> Iterator[Mosquitto]:
    """A broker, which a test may stop and start."""
    _need("mosquitto")
    server = Mosquitto(tmp_path / "mosquitto", certs)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def secret(tmp_path: Path) -> Callable[[str], str]:
    """Writes a secret into a file that nobody else may read; gives the file's name."""

    def write(text: str) -> str:
        path = tmp_path / f"secret{next(_NUMBERS)}"
        path.write_text(text + "\n")
        path.chmod(0o600)
        return str(path)

    return write


def one_sink(**table: Any) -> SinkSettings:
    """Settings of one sink with short waits, as a configuration would give them."""
    quick = {"retry_first": 0.05, "retry_most": 0.2, "timeout": 5}
    sinks, problems = parse_sinks([quick | table], site="UW Nord", sensor="s1")
    assert not problems, list(map(str, problems))
    return sinks[0]

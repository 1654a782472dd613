"""Settings of ``[[sink]]`` tables: strict, complete, and every problem named with key, value and remedy.

Reading is apart from using: nothing here opens a file or a connection.
"""

from __future__ import annotations

import difflib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from sensor.sinks.checks import Bad, Check, Problem, checks_of
from sensor.sinks.secret import Secret
from sensor.store.lanes import KINDS

MAX_SINKS: Final = 16
"""More is a mistake in the configuration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """What every sink has.

    Attributes
    ----------
    name : str
        Key of its cursors in the store; changing it sends everything again.
    send : tuple of str
        ``alerts``, ``incidents``, ``levels``, ``samples``.
    min_level : int
        Of alerts and incidents, 0 info to 3 alarm.
    max_age, timeout, retry_first, retry_most : float
        Seconds.
    max_bytes : int
        Bytes that waiting rows may take in the store.
    batch : int
        Records per delivery.
    site, sensor : str
    pseudonymise : bool
        Addresses and names leave as pseudonyms.
    """

    name: str
    send: tuple[str, ...]
    min_level: int = 0
    max_age: float = 30 * 86_400.0
    max_bytes: int = 500_000_000
    batch: int = 500
    timeout: float = 10.0
    retry_first: float = 1.0
    retry_most: float = 300.0
    site: str = ""
    sensor: str = ""
    pseudonymise: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InfluxSettings(Common):
    """InfluxDB 2.x, 3.x, or 1.8+ by its compatibility API."""

    url: str
    bucket: str
    org: str = ""
    token: Secret | None = None
    ca_file: Path | None = None
    verify_tls: bool = True
    gzip: bool = True
    max_labels: int = 5_000
    allow_plaintext: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SyslogSettings(Common):
    """A syslog receiver."""

    host: str
    port: int
    transport: str = "tls"
    format: str = "cef"
    facility: int = 13
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    verify_tls: bool = True
    max_message: int = 8_192


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings(Common):
    """An HTTPS address that takes signed JSON."""

    url: str
    secret: Secret
    ca_file: Path | None = None
    verify_tls: bool = True
    allow_plaintext: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttSettings(Common):
    """An MQTT 5 broker."""

    host: str
    port: int = 8883
    topic: str = "gridwarden"
    username: str = ""
    password: Secret | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    verify_tls: bool = True
    tls: bool = True
    expiry: float = 7 * 86_400.0
    allow_plaintext: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonlSettings(Common):
    """A file of JSON lines with rotation."""

    path: Path
    rotate_bytes: int = 50_000_000
    keep: int = 10


SinkSettings: TypeAlias = InfluxSettings | SyslogSettings | WebhookSettings | MqttSettings | JsonlSettings

TYPES: Final[dict[str, type[SinkSettings]]] = {
    "influx": InfluxSettings,
    "syslog": SyslogSettings,
    "webhook": WebhookSettings,
    "mqtt": MqttSettings,
    "jsonl": JsonlSettings,
}

DEFAULTS: Final[dict[str, dict[str, Any]]] = {
    "influx": {"send": KINDS, "batch": 5_000},
    "syslog": {"send": ("alerts", "incidents"), "min_level": 1, "batch": 100},
    "webhook": {"send": ("alerts", "incidents"), "min_level": 1, "batch": 100},
    "mqtt": {"send": ("alerts", "incidents", "levels"), "batch": 100},
    "jsonl": {"send": KINDS, "batch": 1_000},
}
"""Where a type's default is not the common one."""


@dataclass(slots=True)
class _Table:
    """One ``[[sink]]`` table while it is read."""

    place: str
    given: dict[str, Any]
    values: dict[str, Any] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def complain(self, key: str, value: object, problem: str, remedy: str) -> None:
        self.problems.append(Problem(self.place, key, value, problem, remedy))


def parse_sinks(
    tables: object, *, site: str = "", sensor: str = "", base: Path | None = None
) -> tuple[list[SinkSettings], list[Problem]]:
    """Check the ``[[sink]]`` tables of a configuration.

    Parameters
    ----------
    tables : object
        What TOML gave for the key ``sink``; None for none.
    site, sensor : str
        Names that every record carries; the sensor's default is the name of the machine.
    base : Path or None
        Folder that relative paths start from; the working directory by default.

    Returns
    -------
    sinks : list of settings
        Complete only when there are no problems.
    problems : list of Problem
        All of them, in the order of the file.
    """
    if tables is None:
        return [], []
    if not isinstance(tables, Sequence) or isinstance(tables, str) or len(tables) > MAX_SINKS:
        remedy = f"write up to {MAX_SINKS} tables, each beginning with [[sink]]"
        return [], [Problem("sink", "sink", tables, "is no list of tables", remedy)]
    own = {"site": site, "sensor": sensor or platform.node() or "sensor"}
    sinks: list[SinkSettings] = []
    problems: list[Problem] = []
    for number, given in enumerate(tables, 1):
        made, found = _parse(number, given, own, base or Path.cwd())
        problems += found
        if made is not None and any(made.name == other.name for other in sinks):
            remedy = "each sink keeps its place in the outbox by its name: give them different names"
            problems.append(Problem(f"[[sink]] {number}", "name", made.name, "is used twice", remedy))
        elif made is not None:
            sinks.append(made)
    return sinks, problems


def _parse(
    number: int, given: object, own: dict[str, str], base: Path
) -> tuple[SinkSettings | None, list[Problem]]:
    if not isinstance(given, Mapping):
        return None, [Problem(f"[[sink]] {number}", "sink", given, "is no table", "begin it with [[sink]]")]
    kind = given.get("type")
    if not isinstance(kind, str) or kind not in TYPES:
        remedy = f"choose one of {', '.join(TYPES)}"
        return None, [Problem(f"[[sink]] {number}", "type", kind, "is no type of sink", remedy)]
    table = _Table(f"[[sink]] {number} ({kind})", {k: v for k, v in given.items() if k != "type"})
    checks = checks_of(kind, base)
    _unknown(table, checks)
    table.values = {"name": kind} | DEFAULTS[kind] | own
    for key, check in checks.items():
        _value(table, key, check)
    _together(table, kind)
    if table.problems:
        return None, table.problems
    return TYPES[kind](**table.values), []


def _unknown(table: _Table, checks: Mapping[str, Check]) -> None:
    for key in table.given:
        if key in checks:
            continue
        if key in ("token", "password", "secret"):
            remedy = f"write it into a file and name that with {key}_file, or use {key}_credential"
            table.complain(key, "…", "secrets do not belong into the configuration", remedy)
            continue
        near = difflib.get_close_matches(key, checks, 1)
        remedy = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(checks))}"
        table.complain(key, table.given[key], "is not known here", remedy)


def _value(table: _Table, key: str, check: Check) -> None:
    if key not in table.given:
        if check.required:
            table.complain(key, None, "is missing", check.remedy)
        return
    try:
        table.values[check.target or key] = check.convert(table.given[key])
    except Bad as bad:
        table.complain(key, table.given[key], str(bad), check.remedy)


LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


def _together(table: _Table, kind: str) -> None:
    """What only shows when several keys are looked at."""
    values, given = table.values, table.given
    for name in ("token", "password", "secret"):
        if f"{name}_file" in given and f"{name}_credential" in given:
            remedy = f"keep one of {name}_file and {name}_credential"
            table.complain(f"{name}_credential", given[f"{name}_credential"], "is given twice", remedy)
    if kind == "webhook" and "secret" not in values and not table.problems:
        remedy = "name a file with secret_file (openssl rand -hex 32 makes one), or use secret_credential"
        table.complain("secret_file", None, "is missing", remedy)
    if ("cert_file" in values) != ("key_file" in values):
        table.complain("cert_file", given.get("cert_file"), "needs key_file beside it", "give both or none")
    if values.get("retry_first", 1.0) > values.get("retry_most", 300.0):
        table.complain("retry_first", given.get("retry_first"), "is above retry_most", "make it smaller")
    if values.get("username") and "password" not in values:
        table.complain("username", values["username"], "has no password", "name a file with password_file")
    _plaintext(table, kind)


def _plaintext(table: _Table, kind: str) -> None:
    """Without TLS only to this machine, or when the user says so."""
    values, given = table.values, table.given
    if values.get("allow_plaintext"):
        return
    url = urlsplit(str(values.get("url", "")))
    if url.scheme == "http" and url.hostname not in LOOPBACK:
        remedy = "use https://, or set allow_plaintext = true if you mean it"
        table.complain("url", values["url"], "would send secrets and alerts in the clear", remedy)
    if kind == "mqtt" and values.get("tls") is False and values.get("host") not in LOOPBACK:
        remedy = "leave TLS on, or set allow_plaintext = true if you mean it"
        table.complain("tls", given.get("tls"), "would send secrets and alerts in the clear", remedy)

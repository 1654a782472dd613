"""Checks of single settings of a sink: what a value must be, and what to write instead."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from sensor.result import LEVELS
from sensor.sinks.secret import Secret
from sensor.store.lanes import KINDS

UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
SIZES: Final = {"kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
MAX_BATCH: Final = 30_000
"""Records; their ids stand in one SQL statement, which takes 32,766 values."""

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
HOST: Final = re.compile(r"[A-Za-z0-9._:-]{1,253}")
NUMBER: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)")


class Bad(ValueError):
    """A value that will not do; the text says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in the settings: where, which key, its value, what is wrong, what to do."""

    place: str
    key: str
    value: object
    problem: str
    remedy: str

    def __str__(self) -> str:
        shown = "" if self.value is None else f" = {str(self.value)[:80]!r}"
        return f"{self.place}: {self.key}{shown}: {self.problem}. {self.remedy[:1].upper()}{self.remedy[1:]}"


@dataclass(frozen=True, slots=True)
class Check:
    """One key: conversion to its value, remedy for a bad one, whether it must be there."""

    convert: Callable[[Any], Any]
    remedy: str
    required: bool = False
    target: str = ""


def words(most: int = 255) -> Callable[[Any], str]:
    """Printable text that is not empty."""

    def convert(value: Any) -> str:
        if not isinstance(value, str) or not value.strip():
            raise Bad("is no text")
        if len(value) > most or not value.isprintable():
            raise Bad(f"is longer than {most} characters or holds control characters")
        return value

    return convert


def name(value: Any) -> str:
    """A name for a cursor in the store and a label in messages."""
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise Bad("is no name")
    return value


def host(value: Any) -> str:
    """A host name or an address."""
    if not isinstance(value, str) or not HOST.fullmatch(value):
        raise Bad("is no host name or address")
    return value


def port(value: Any) -> int:
    """A TCP or UDP port."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 65_536:
        raise Bad("is no port")
    return value


def yes_no(value: Any) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        raise Bad("is neither true nor false")
    return value


def whole(low: int, high: int) -> Callable[[Any], int]:
    """A whole number of a range."""

    def convert(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise Bad(f"is no whole number from {low} to {high}")
        return value

    return convert


def one_of(*choices: str) -> Callable[[Any], str]:
    """One word of several."""

    def convert(value: Any) -> str:
        if not isinstance(value, str) or value not in choices:
            raise Bad(f"is none of {', '.join(choices)}")
        return value

    return convert


def duration(low: float, high: float) -> Callable[[Any], float]:
    """Seconds, as a number or as text with a unit."""

    def convert(value: Any) -> float:
        seconds = _measure(value, UNITS)
        if seconds is None:
            raise Bad("is no duration")
        if not low <= seconds <= high:
            raise Bad(f"is outside {low:g} s to {high:g} s")
        return seconds

    return convert


def size(low: int, high: int) -> Callable[[Any], int]:
    """Bytes, as a number or as text with a unit."""

    def convert(value: Any) -> int:
        count = _measure(value, SIZES)
        if count is None:
            raise Bad("is no size")
        if not low <= count <= high:
            raise Bad(f"is outside {low:,} to {high:,} bytes")
        return int(count)

    return convert


def _measure(value: Any, units: dict[str, Any]) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if math.isfinite(value) else None
    match = NUMBER.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None or (match[2] and match[2] not in units):
        return None
    return float(match[1]) * float(units.get(match[2], 1))


def url(value: Any) -> str:
    """An address that begins with https:// or http://, without a user, a query or a fragment."""
    if not isinstance(value, str) or not value.isprintable() or " " in value:
        raise Bad("is no address")
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError as error:
        raise Bad(f"is no address ({error})") from error
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise Bad("does not begin with https:// and a host")
    if parts.username or parts.password:
        raise Bad("holds a user or a password")
    if parts.fragment:
        raise Bad("holds a fragment (#)")
    return value.rstrip("/")


def kinds(value: Any) -> tuple[str, ...]:
    """Which records a sink gets."""
    if not isinstance(value, list) or not value or any(kind not in KINDS for kind in value):
        raise Bad(f"is no list of {', '.join(KINDS)}")
    return tuple(kind for kind in KINDS if kind in value)


def level(value: Any) -> int:
    """Rank of a level's name."""
    if value not in LEVELS:
        raise Bad("is no level")
    return LEVELS.index(value)


def topic(value: Any) -> str:
    """The beginning of an MQTT topic."""
    prefix = words(100)(value).strip("/")
    if not prefix or prefix.startswith("$") or any(c in "+#" for c in prefix):
        raise Bad("is no topic to publish under")
    return prefix


def path_below(base: Path) -> Callable[[Any], Path]:
    """A file, relative to the configuration's folder."""

    def convert(value: Any) -> Path:
        return base / Path(words(4_096)(value)).expanduser()

    return convert


def secret_file(base: Path) -> Callable[[Any], Secret]:
    """A file that holds one secret."""
    return lambda value: Secret(file=path_below(base)(value))


def credential(value: Any) -> Secret:
    """A systemd credential by its name."""
    return Secret(credential=name(value))


def checks_of(kind: str, base: Path) -> dict[str, Check]:
    """All keys of a type of sink."""
    return _common() | _OWN[kind](base)


def _common() -> dict[str, Check]:
    return {
        "name": Check(
            name, "use letters, digits, dot, dash and underscore, up to 64, beginning with a letter or digit"
        ),
        "send": Check(kinds, 'for example send = ["alerts", "incidents", "levels", "samples"]'),
        "min_level": Check(level, f"write one of {', '.join(LEVELS)}"),
        "max_age": Check(duration(1, 10 * 366 * 86_400), 'for example "30d"'),
        "max_bytes": Check(size(10_000, 10**12), 'for example "500MB"'),
        "pseudonymise": Check(yes_no, "write true or false; true needs a key in [pseudonyms]"),
        "batch": Check(whole(1, MAX_BATCH), "leave it out for a good default"),
        "timeout": Check(duration(0.1, 300), 'for example "10s"'),
        "retry_first": Check(duration(0.01, 3_600), 'for example "1s"'),
        "retry_most": Check(duration(0.01, 86_400), 'for example "5m"'),
    }


def _secret(word: str, base: Path) -> dict[str, Check]:
    return {
        f"{word}_file": Check(secret_file(base), "name a file that holds nothing else", target=word),
        f"{word}_credential": Check(credential, "name a credential as in LoadCredential=", target=word),
    }


def _tls(base: Path, client: bool = True) -> dict[str, Check]:
    checks = {
        "ca_file": Check(path_below(base), "name a file with the certificate of your authority (PEM)"),
        "verify_tls": Check(yes_no, "write true; false accepts anybody who answers"),
    }
    if client:
        checks["cert_file"] = Check(path_below(base), "name a certificate (PEM)")
        checks["key_file"] = Check(path_below(base), "name a private key (PEM)")
    return checks


def _influx(base: Path) -> dict[str, Check]:
    return {
        "url": Check(url, 'for example url = "https://influx.example:8086"', required=True),
        "bucket": Check(words(), 'InfluxDB 1.x: "database" or "database/retention policy"', required=True),
        "org": Check(words(), "leave it out for InfluxDB 1.x and 3.x"),
        "gzip": Check(yes_no, "write true or false"),
        "max_labels": Check(whole(10, 1_000_000), "conversations that may become series, for example 5000"),
        "allow_plaintext": Check(yes_no, "write true or false"),
        **_secret("token", base),
        **_tls(base, client=False),
    }


def _syslog(base: Path) -> dict[str, Check]:
    return {
        "host": Check(host, "name the receiver", required=True),
        "port": Check(port, "usually 6514 for TLS, 514 for UDP, 601 for TCP", required=True),
        "transport": Check(one_of("tls", "tcp", "udp"), "tls is the only one that nobody can read or forge"),
        "format": Check(one_of("cef", "json"), "cef suits most SIEMs"),
        "facility": Check(whole(0, 23), "13 is log audit, 16 to 23 are local0 to local7"),
        "max_message": Check(whole(480, 65_000), "8192 suits most receivers (RFC 5425), 1024 old ones"),
        **_tls(base),
    }


def _webhook(base: Path) -> dict[str, Check]:
    return {
        "url": Check(url, 'for example url = "https://soc.example/gridwarden"', required=True),
        "allow_plaintext": Check(yes_no, "write true or false"),
        **_secret("secret", base),
        **_tls(base, client=False),
    }


def _mqtt(base: Path) -> dict[str, Check]:
    return {
        "host": Check(host, "name the broker", required=True),
        "port": Check(port, "usually 8883, 1883 without TLS"),
        "topic": Check(topic, 'for example topic = "gridwarden"'),
        "username": Check(words(), "the user at the broker"),
        "tls": Check(yes_no, "write true or false"),
        "expiry": Check(duration(1, 4_000_000_000), 'for example "7d"'),
        "allow_plaintext": Check(yes_no, "write true or false"),
        **_secret("password", base),
        **_tls(base),
    }


def _jsonl(base: Path) -> dict[str, Check]:
    return {
        "path": Check(path_below(base), 'for example path = "/var/lib/gridwarden/out.jsonl"', required=True),
        "rotate_bytes": Check(size(1_000, 10**12), 'for example "50MB"'),
        "keep": Check(whole(1, 1_000), "files kept beside the present one"),
    }


_OWN: Final[dict[str, Callable[[Path], dict[str, Check]]]] = {
    "influx": _influx,
    "syslog": _syslog,
    "webhook": _webhook,
    "mqtt": _mqtt,
    "jsonl": _jsonl,
}

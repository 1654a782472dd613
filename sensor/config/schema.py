"""What a configuration may say, with its defaults, and the check of a file as a whole.

One file is one site: all its sources are seen as one traffic and held against one baseline. Relative paths
are relative to the folder of the file. Every limit has a reason beside it; docs/daemon.md has the text for
users.
"""

from __future__ import annotations

import platform
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sensor.config.lines import key_lines
from sensor.config.protect import EvidenceConfig, PseudonymConfig, parse_evidence, parse_pseudonyms
from sensor.config.reader import NAME, ConfigError, Place, Problem, Section

MAX_SOURCES: Final = 16
MAX_SINKS: Final = 16
MAX_FILE: Final = 1 << 20
IFACE: Final = r"[^\s/]{1,15}"


@dataclass(frozen=True, slots=True)
class SourceConfig:
    """One interface, or captures to be played back.

    Attributes
    ----------
    name : str
        For health rows; the interface or the first capture when not given.
    interface : str
        "" for captures.
    captures : tuple of Path
        Files, folders, globs; empty for an interface.
    filter : str
        tcpdump's language; interfaces only.
    ring_mib : int
    incoming_only, promiscuous : bool
    """

    name: str
    interface: str = ""
    captures: tuple[str, ...] = ()
    filter: str = ""
    ring_mib: int = 64
    incoming_only: bool = False
    promiscuous: bool = True


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """Where what was found is kept, and for how long."""

    path: Path = Path("gridwarden.db")
    keep_days: float = 90.0
    max_mib: int = 2048
    waiting_alerts: int = 10_000
    waiting_rows: int = 100_000


@dataclass(frozen=True, slots=True)
class DetectConfig:
    """How traffic is judged."""

    slice_ms: int = 0
    alerts_per_day: int = 20_000
    tshark: bool = True


@dataclass(frozen=True, slots=True)
class WarningConfig:
    """Levels, and how many of what may have one."""

    max_conversations: int = 2_000
    max_assets: int = 1_000
    calm_windows: int = 6
    silent_after_s: float = 60.0
    margins: bool = True


@dataclass(frozen=True, slots=True)
class HealthConfig:
    """How often the sensor tells how it is."""

    interval_s: float = 10.0
    behind_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Config:
    """A whole configuration.

    Attributes
    ----------
    file : Path
    site, sensor : str
        Names that go with everything that leaves the sensor.
    baseline : Path
    profiles : tuple of Path
        Folders with profiles of the user's own.
    sources : tuple of SourceConfig
        All interfaces, or all captures.
    speed : float
        Of playing captures back: 1 as they were taken, inf as fast as it goes.
    sinks : tuple of dict
        The ``[[sink]]`` tables as they stand, for the forwarder.
    """

    file: Path
    site: str
    sensor: str
    baseline: Path
    profiles: tuple[Path, ...] = ()
    sources: tuple[SourceConfig, ...] = ()
    speed: float = float("inf")
    store: StoreConfig = field(default_factory=StoreConfig)
    detect: DetectConfig = field(default_factory=DetectConfig)
    warning: WarningConfig = field(default_factory=WarningConfig)
    health: HealthConfig = field(default_factory=HealthConfig)
    evidence: EvidenceConfig = field(default_factory=EvidenceConfig)
    pseudonyms: PseudonymConfig = field(default_factory=PseudonymConfig)
    sinks: tuple[Mapping[str, Any], ...] = ()

    @property
    def live(self) -> bool:
        """Whether it reads interfaces."""
        return bool(self.sources) and bool(self.sources[0].interface)

    @property
    def slice_ns(self) -> int:
        """Capture time of one slice; short on interfaces, so that alerts come soon."""
        return (self.detect.slice_ms or (250 if self.live else 2000)) * 1_000_000


def load_config(path: str | Path) -> Config:
    """Read and check a file.

    Raises
    ------
    ConfigError
        With every mistake that was found.
    """
    file = Path(path)
    try:
        raw = file.read_bytes() if file.stat().st_size <= MAX_FILE else None
    except OSError as error:
        raise ConfigError(
            [
                Problem(
                    str(path), 1, "", f"cannot be read: {error.strerror}", "gridwarden config init writes one"
                )
            ]
        ) from error
    if raw is None:
        raise ConfigError([Problem(str(path), 1, "", "is larger than 1 MiB", "Is it a configuration?")])
    return parse_config(raw, file)


def parse_config(raw: bytes, file: Path) -> Config:
    """Check the text of a configuration; ``file`` is for messages and relative paths."""
    try:
        text = raw.decode("utf-8")
        data = tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ConfigError([Problem(str(file), line, "", "is not UTF-8 text", "")]) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([_syntax(str(file), text, error)]) from error
    place = Place(str(file), key_lines(text))
    config = _config(Section(data, place), file)
    if place.problems:
        raise ConfigError(sorted(place.problems, key=lambda problem: problem.line))
    return config


def _syntax(file: str, text: str, error: tomllib.TOMLDecodeError) -> Problem:
    words = str(error)
    head, _, tail = words.partition(" (at ")
    place = tail.rstrip(")").replace(",", "").split()
    line = int(place[1]) if len(place) > 1 and place[1].isdigit() else text.count("\n") + 1
    return Problem(file, line, "", f"is not TOML: {head}", "")


def _config(top: Section, file: Path) -> Config:
    base = file.parent
    site = top.section("site")
    names = (site.required("name", "station-7"), site.text("sensor", platform.node()[:64] or "sensor", NAME))
    if names[0]:
        site.text("name", "", NAME, "station-7")
    baseline = base / site.required("baseline", "station.baseline")
    profiles = tuple(base / folder for folder in site.texts("profiles"))
    site.done()
    sources = _sources(top, base)
    store = _store(top.section("store"), base)
    config = Config(
        file=file,
        site=names[0],
        sensor=names[1],
        baseline=baseline,
        profiles=profiles,
        sources=sources,
        speed=_speed(top, sources),
        store=store,
        detect=_detect(top.section("detect")),
        warning=_warning(top.section("warning")),
        health=_health(top.section("health")),
        evidence=parse_evidence(top.section("evidence"), base, store.path),
        pseudonyms=parse_pseudonyms(top.section("pseudonyms"), base),
        sinks=_sinks(top),
    )
    top.done()
    return config


def _sources(top: Section, base: Path) -> tuple[SourceConfig, ...]:
    sources: list[SourceConfig] = []
    for section in top.sections("source", MAX_SOURCES):
        source = _source(section, base)
        if source is None:
            continue
        if any(source.name == other.name for other in sources):
            section.fail("", f"{source.name} stands there twice", 'Give it a name = "…" of its own')
        if sources and bool(sources[0].interface) != bool(source.interface):
            section.fail("", "mixes captures with interfaces", "They have different clocks: use two files")
        sources.append(source)
    if not top.data.get("source"):
        top.fail("source", "is missing: nothing to read", 'Add [[source]] with interface = "eth1"')
    return tuple(sources)


def _source(section: Section, base: Path) -> SourceConfig | None:
    live = section.has("interface")
    if live == section.has("captures"):
        section.fail("", "needs either interface or captures", 'Write for example interface = "eth1"')
        return None
    interface = section.text("interface", "", IFACE, "eth1") if live else ""
    captures = section.texts("captures")
    if not (interface or captures):
        section.fail("interface" if live else "captures", "is empty", "Name what to read")
        return None
    paths = tuple(str(base / capture) for capture in captures)
    source = SourceConfig(
        name=section.text("name", interface or Path(captures[0]).name, NAME, "bay-1"),
        interface=interface,
        captures=paths,
        filter=section.text("filter") if live else "",
        ring_mib=section.integer("ring_mib", 64, 1, 4096) if live else 0,
        incoming_only=section.boolean("incoming_only", False) if live else False,
        promiscuous=section.boolean("promiscuous", True) if live else True,
    )
    section.done()
    return source


def _speed(top: Section, sources: tuple[SourceConfig, ...]) -> float:
    replay = top.section("replay")
    if replay.data.get("speed", "max") == "max":
        replay.text("speed")
        speed = float("inf")
    else:
        speed = replay.number("speed", 1.0, 0.01, 1e6)
    if replay.data and sources and sources[0].interface:
        replay.fail("", "is for captures", "Remove it: interfaces have the speed that they have")
    replay.done()
    return speed


def _store(section: Section, base: Path) -> StoreConfig:
    plain = StoreConfig()
    store = StoreConfig(
        path=base / section.text("path", str(plain.path)),
        keep_days=section.number("keep_days", plain.keep_days, 0.01, 36_500),
        max_mib=section.integer("max_mib", plain.max_mib, 4, 1 << 20),
        waiting_alerts=section.integer("waiting_alerts", plain.waiting_alerts, 1, 1_000_000),
        waiting_rows=section.integer("waiting_rows", plain.waiting_rows, 1_000, 10_000_000),
    )
    section.done()
    return store


def _detect(section: Section) -> DetectConfig:
    plain = DetectConfig()
    length = section.integer("slice_ms", plain.slice_ms, 0, 2000)
    if length and 10_000 % length:
        section.fail("slice_ms", f"{length} does not divide 10,000", "Use 100, 200, 250, 500, 1000 or 2000")
    detect = DetectConfig(
        slice_ms=length,
        alerts_per_day=section.integer("alerts_per_day", plain.alerts_per_day, 10, 1_000_000),
        tshark=section.boolean("tshark", plain.tshark),
    )
    section.done()
    return detect


def _warning(section: Section) -> WarningConfig:
    plain = WarningConfig()
    warning = WarningConfig(
        max_conversations=section.integer("max_conversations", plain.max_conversations, 1, 32_768),
        max_assets=section.integer("max_assets", plain.max_assets, 1, 32_768),
        calm_windows=section.integer("calm_windows", plain.calm_windows, 1, 8_640),
        silent_after_s=section.number("silent_after_s", plain.silent_after_s, 10, 1e7),
        margins=section.boolean("margins", plain.margins),
    )
    section.done()
    return warning


def _health(section: Section) -> HealthConfig:
    plain = HealthConfig()
    health = HealthConfig(
        interval_s=section.number("interval_s", plain.interval_s, 0.2, 3_600),
        behind_s=section.number("behind_s", plain.behind_s, 1, 3_600),
    )
    section.done()
    return health


def _sinks(top: Section) -> tuple[Mapping[str, Any], ...]:
    """The forwarder checks its own tables; here only that they are tables."""
    return tuple(section.data for section in top.sections("sink", MAX_SINKS))

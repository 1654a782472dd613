"""The forwarder as the daemon knows it: told when rows may be new, it reads the store itself."""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Mapping
from typing import Any, Final, Protocol

from sensor.config.lines import key_lines, line_of
from sensor.config.reader import ConfigError, Problem
from sensor.config.schema import Config
from sensor.errors import GridwardenError

PACKAGE: Final = "sensor.sinks"


class Forwarder(Protocol):
    """Sends what is in the store to where the configuration says."""

    def start(self) -> None: ...
    def poke(self) -> None: ...
    def status(self) -> dict[str, Any]: ...
    def stop(self, deadline_s: float) -> object: ...


class NoForwarder:
    """For a configuration without sinks."""

    def start(self) -> None:
        """Nothing to begin."""

    def poke(self) -> None:
        """Nobody waits."""

    def status(self) -> dict[str, Any]:
        """Nothing to tell."""
        return {}

    def stop(self, deadline_s: float) -> object:
        """Nothing to end."""
        return deadline_s


def make_forwarder(config: Config) -> Forwarder:
    """The forwarder for a configuration's ``[[sink]]`` tables.

    Raises
    ------
    ConfigError
        A sink that cannot be.
    """
    if not config.sinks:
        return NoForwarder()
    if importlib.util.find_spec(PACKAGE) is None:
        raise ConfigError(
            [Problem(str(config.file), _line(config, "sink[0]"), "sink", "cannot be: no sinks here", "")]
        )
    settings = importlib.import_module(f"{PACKAGE}.settings")
    sinks, problems = settings.parse_sinks(
        list(config.sinks), site=config.site, sensor=config.sensor, base=config.file.parent
    )
    if problems:
        raise ConfigError([_placed(config, problem) for problem in problems])
    forwarder = importlib.import_module(f"{PACKAGE}.forwarder").Forwarder
    made: Forwarder = forwarder(config.store.path, sinks, _scrub(config, sinks))
    return made


def _scrub(config: Config, sinks: list[Any]) -> Any:
    """Makes pseudonyms for the sinks that ask for them; raises ConfigError without a key."""
    from sensor.sinks.pump import unchanged

    asking = next((number for number, sink in enumerate(sinks) if sink.pseudonymise), None)
    if asking is None:
        return unchanged
    from sensor.pseudonym.key import make_pseudonyms
    from sensor.pseudonym.records import RecordScrub

    try:
        return RecordScrub(make_pseudonyms(config))
    except GridwardenError as error:
        path = "pseudonyms" if config.pseudonyms.key is not None else f"sink[{asking}].pseudonymise"
        raise ConfigError([Problem(str(config.file), _line(config, path), path, str(error), "")]) from error


def outbox_depth(status: Mapping[str, Any]) -> float:
    """Rows that wait, over all sinks, as far as they say."""
    depths = [one.get("depth") for one in status.values() if isinstance(one, Mapping)]
    return float(sum(depth for depth in depths if isinstance(depth, (int, float))))


def _placed(config: Config, problem: Any) -> Problem:
    """The sinks' own problem with the line of its key."""
    number = re.search(r"\d+", str(problem.place))
    path = f"sink[{int(number[0]) - 1}].{problem.key}" if number else "sink"
    return Problem(str(config.file), _line(config, path), path, str(problem.problem), str(problem.remedy))


def _line(config: Config, path: str) -> int:
    try:
        return line_of(key_lines(config.file.read_text("utf-8")), path)
    except (OSError, ValueError):
        return 1

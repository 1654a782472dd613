"""The list of known attacks: name, what each does and needs, technique of ATT&CK for ICS."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from sensor.errors import UsageError
from sensor.simulate.stage import Render

FAMILIES: Final = {
    "scan": "finding out what is there",
    "command": "commands that nobody ordered",
    "replay": "recorded traffic again",
    "middle": "values and commands changed in flight",
    "flood": "more than a device can take",
    "suppression": "messages that never arrive",
    "rogue": "a second master or publisher",
    "frozen": "measurements that stand still or creep away",
    "download": "programs, firmware, files",
    "restart": "restart, stop, reset",
    "time": "wrong time",
    "slow": "one step an hour",
    "delay": "messages that arrive late",
}
"""Kinds of attack, in the order of the documentation."""

MODULES: Final = (
    "modbus", "iec104", "goose", "sv", "dnp3", "dnp3_udp", "mms", "s7comm", "opcua", "enip", "mqtt",
    "network", "clock",
)  # fmt: skip
"""Modules of ``sensor.simulate.attacks``; each registers its attacks when it is loaded."""


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack pattern.

    Attributes
    ----------
    id : str
        Name on the command line; begins with the protocol.
    protocol, family : str
    technique : str
        ATT&CK for ICS id.
    sentence : str
        What it does.
    needs : str
        What the capture must offer.
    seconds : float
        How long it lasts where the capture is long enough.
    render : callable
        Edits a stage; raises NotOffered.
    """

    id: str
    protocol: str
    family: str
    technique: str
    sentence: str
    needs: str
    seconds: float
    render: Render


_FOUND: Final[dict[str, Attack]] = {}


def attack(
    ident: str, family: str, technique: str, sentence: str, needs: str, seconds: float = 60.0
) -> Callable[[Render], Render]:
    """Register a function as an attack."""

    def register(render: Render) -> Render:
        assert ident not in _FOUND, ident
        assert family in FAMILIES, family
        _FOUND[ident] = Attack(
            ident, ident.partition("-")[0], family, technique, sentence, needs, seconds, render
        )
        return render

    return register


@lru_cache(maxsize=1)
def attacks() -> dict[str, Attack]:
    """Every attack by its id, in the order of the modules."""
    for module in MODULES:
        importlib.import_module(f"sensor.simulate.attacks.{module}")
    return dict(_FOUND)


def chosen(names: tuple[str, ...]) -> list[Attack]:
    """Attacks by id or by protocol, without names all.

    Raises
    ------
    UsageError
        A name that no attack has.
    """
    known = attacks()
    wanted: dict[str, Attack] = {}
    for name in names or tuple(known):
        found = [known[name]] if name in known else [a for a in known.values() if a.protocol == name]
        if not found:
            raise UsageError(f"no attack {name!r}; gridwarden simulate --list shows them all")
        wanted |= {one.id: one for one in found}
    return list(wanted.values())

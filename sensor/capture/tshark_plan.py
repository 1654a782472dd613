"""What to ask of tshark for a set of profiles: fields, display filters, preferences.

Fields that the tshark at hand does not know are not asked for, and a profile whose protocol it does not know
is left out and noted, so that one profile cannot spoil the run for all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from grid_profiles.schema import Profile
from sensor.capture.tshark_fields import BASE
from sensor.capture.tshark_filter import parse_presence
from sensor.capture.tshark_process import TsharkError, run_tool
from sensor.capture.tshark_spool import MAX_PROFILES

MAX_RANGES: Final = 200
"""Ranges of frame numbers in one display filter; nearer ones are joined first."""

_TCP_PREFERENCES: Final = {"tcp.desegment_tcp_streams": "TRUE"}


class Plan:
    """What to ask of one tshark for a set of profiles.

    Attributes
    ----------
    profiles : list of Profile
        Those that this tshark can decode.
    names : tuple of str
        Fields beside the base columns.
    octets_of, frame_fields : frozenset of str
        Fields of type octets, and of type frame number.
    notes : list of str
        What was left out, in words.
    """

    def __init__(self, tshark: Path, profiles: Sequence[Profile]) -> None:
        wanted = {name for profile in profiles for name in _fields(profile)}
        types = field_types(tshark, frozenset(wanted | set(BASE)))
        self.notes: list[str] = []
        self.profiles = [profile for profile in profiles if self._known(profile, types)]
        if len(self.profiles) > MAX_PROFILES:
            raise TsharkError(f"more than {MAX_PROFILES} profiles for tshark; move some out of the folder")
        missing = [name for name in BASE if name not in types]
        if missing:
            raise TsharkError(f"tshark knows no {', '.join(missing)}: install tshark 4.0 or newer")
        asked = {name for profile in self.profiles for name in _fields(profile) if name in types}
        self.names = tuple(sorted(asked - set(BASE)))
        self.octets_of = frozenset(name for name, kinds in types.items() if kinds == {"FT_BYTES"})
        self.frame_fields = frozenset(name for name, kinds in types.items() if kinds == {"FT_FRAMENUM"})
        self.filters = [parse_presence(profile.tshark.filter) for profile in self.profiles if profile.tshark]
        self.preferences, self.decode_as, self.heuristics = self._settings()

    def _known(self, profile: Profile, types: dict[str, set[str]]) -> bool:
        assert profile.tshark is not None
        presence = parse_presence(profile.tshark.filter)
        unknown = sorted(presence.names - types.keys()) if presence else []
        if not any(name in types for name in profile.tshark.pdu):
            unknown = list(profile.tshark.pdu)
        if unknown:
            self.notes.append(f"{profile.name}: this tshark has no {', '.join(unknown)}")
        return not unknown

    def _settings(self) -> tuple[dict[str, str], dict[str, str], list[str]]:
        preferences, decode_as, heuristics = dict(_TCP_PREFERENCES), dict[str, str](), dict[str, None]()
        for profile in self.profiles:
            assert profile.tshark is not None
            for name, setting in profile.tshark.preferences.items():
                self._settle(preferences, name, setting, profile.name)
            for rule in profile.tshark.decode_as:
                where, _, what = rule.rpartition(",")
                self._settle(decode_as, where, what, profile.name)
            heuristics |= dict.fromkeys(profile.tshark.heuristics)
        return preferences, decode_as, list(heuristics)

    def _settle(self, table: dict[str, str], key: str, setting: str, who: str) -> None:
        if table.setdefault(key, setting) != setting:
            self.notes.append(f"{who}: {key} is already set to {table[key]} by another profile")

    def any_filter(self, places: Sequence[int]) -> str:
        """A display filter for frames of some profiles."""
        chosen = [self.profiles[place].tshark for place in places]
        return " || ".join(f"({one.filter})" for one in chosen if one is not None)


def frame_filter(numbers: npt.NDArray[np.int64]) -> str:
    """A display filter for these frames, and for others between them where there are too many ranges."""
    gaps = np.diff(numbers)
    widest = np.argsort(-gaps, kind="stable")[: MAX_RANGES - 1]
    cuts = np.sort(widest[gaps[widest] > 1])
    firsts = numbers[np.concatenate([[0], cuts + 1]).astype(np.int64)]
    lasts = numbers[np.concatenate([cuts, [len(numbers) - 1]]).astype(np.int64)]
    ranges = [
        f"(frame.number >= {first} && frame.number <= {last})"
        for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True)
    ]
    return " || ".join(ranges)


def _fields(profile: Profile) -> list[str]:
    """Every field that the profile asks for, with those of its filter."""
    assert profile.tshark is not None
    presence = parse_presence(profile.tshark.filter)
    return [*profile.tshark.fields, *profile.tshark.pdu, *(presence.names if presence else ())]


def field_types(tshark: Path, names: frozenset[str]) -> dict[str, set[str]]:
    """Types (FT_...) of those names that this tshark knows; a name may be registered more than once.

    Raises
    ------
    TsharkError
        tshark does not tell.
    """
    return _field_types(tshark, tshark.stat().st_mtime_ns, names)


@lru_cache(maxsize=8)
def _field_types(tshark: Path, _changed: int, names: frozenset[str]) -> dict[str, set[str]]:
    types: dict[str, set[str]] = {}
    for line in run_tool(tshark, "-G", "fields").split("\n"):
        parts = line.split("\t", 4)
        if len(parts) > 3 and parts[0] == "F" and parts[2] in names:
            types.setdefault(parts[2], set()).add(parts[3])
        elif len(parts) > 2 and parts[0] == "P" and parts[2] in names:
            types.setdefault(parts[2], set()).add("FT_PROTOCOL")
    if not types:
        raise TsharkError(f"{tshark} does not list its fields (tshark -G fields); reinstall it")
    return types

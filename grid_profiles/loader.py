"""Finds profiles, checks them and keeps them in one registry.

Built-in profiles are the TOML files beside this module. A user's own come from the folders named by
the environment variable ``GRIDWARDEN_PROFILES`` (separated by colons; default
``~/.config/gridwarden/profiles``) and from what a caller adds. A user's profile may not take the name
of another one. Files are at most 256 KiB and at most 512 are read.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from grid_profiles.attack import FILE as ATTACK_FILE
from grid_profiles.parse import parse_profile
from grid_profiles.schema import Profile, ProfileError

FOLDERS_VARIABLE: Final = "GRIDWARDEN_PROFILES"
DEFAULT_FOLDER: Final = "~/.config/gridwarden/profiles"
MAX_FILE_BYTES: Final = 256 << 10
MAX_USER_PROFILES: Final = 512
FIRST_BUILTIN_ID: Final = 64
NATIVE_NAMES: Final = (
    "tcp",
    "udp",
    "ip",
    "ethernet",
    "modbus",
    "iec104",
    "goose",
    "sv",
    "mms",
    "dnp3",
    "c37118",
    "s7comm",
    "enip",
    "cip",
    "opcua",
    "mqtt",
    "coap",
    "bacnet",
    "profinet_dcp",
    "profinet_rt",
    "dlms",
    "ptp",
    "prp_supervision",
    "arp",
    "icmp",
    "icmpv6",
    "dns",
    "ntp",
    "snmp",
    "http",
    "tls",
    "cotp",
    "mdns",
    "llmnr",
    "igmp",
    "lldp",
    "dhcp",
)
"""Protocols whose numbers compiled decoders know; a number never moves, new names go to the end."""

NATIVE_IDS: Final[Mapping[str, int]] = MappingProxyType(
    {name: number for number, name in enumerate(NATIVE_NAMES, start=1)}
)


class Registry:
    """All profiles of a run, by name and by number; immutable.

    Numbers are fixed for the native protocols, from 64 on for the other built-in ones in order of
    their names, then for the user's in the order in which they were found.

    Parameters
    ----------
    profiles : sequence of Profile
        Without repeated names or numbers.
    """

    def __init__(self, profiles: Sequence[Profile]) -> None:
        self.profiles: tuple[Profile, ...] = tuple(sorted(profiles, key=lambda profile: profile.id))
        self._by_name = {profile.name: profile for profile in self.profiles}
        self._by_id = {profile.id: profile for profile in self.profiles}
        if len(self._by_name) != len(self.profiles) or len(self._by_id) != len(self.profiles):
            raise ValueError("profiles with the same name or number")

    def by_name(self, name: str) -> Profile:
        """The profile of that name; raises KeyError."""
        return self._by_name[name]

    def by_id(self, ident: int) -> Profile:
        """The profile of that number; raises KeyError."""
        return self._by_id[ident]

    def id_of(self, name: str) -> int:
        """Number of a profile; raises KeyError."""
        return self._by_name[name].id

    def names(self) -> tuple[str, ...]:
        """All names in order of their numbers."""
        return tuple(profile.name for profile in self.profiles)

    def behind_tls(self, port: int) -> str:
        """Name of the protocol that TLS on this server port carries, "" unknown.

        Its profile names the port for TLS (IEC 62351-3 gives some protocols one of their own), or for itself:
        a connection may change to TLS on the port that it has in clear.
        """
        return next((one.name for one in self.profiles if port in one.transport.tls), "") or next(
            (one.name for one in self.profiles if port in one.transport.tcp and one.name != "tls"), ""
        )

    def __len__(self) -> int:
        return len(self.profiles)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name


def load_registry(extra: Sequence[Path] = ()) -> Registry:
    """Every built-in profile and the user's own.

    Parameters
    ----------
    extra : sequence of Path
        More profile files, or folders of them, after the user's drop-in folders.

    Raises
    ------
    ProfileError
        A file that cannot be used, or two profiles of one name.
    """
    profiles = list(_builtin())
    taken = {profile.name: profile.source for profile in profiles}
    ident = max(profile.id for profile in profiles) + 1
    for path in _user_files(extra):
        if ident - profiles[0].id > MAX_USER_PROFILES + len(profiles):
            raise ProfileError(str(path), "", f"more than {MAX_USER_PROFILES} profiles", "Move some away")
        profile = load_profile(path, ident)
        if profile.name in taken:
            raise ProfileError(
                str(path),
                "name",
                f"{profile.name!r} is already the profile of {taken[profile.name]}",
                "Choose another name, and name the file after it",
            )
        taken[profile.name] = str(path)
        profiles.append(profile)
        ident += 1
    return Registry(profiles)


def builtin_names() -> frozenset[str]:
    """Names that a user's profile may not take."""
    return frozenset(profile.name for profile in _builtin())


def load_profile(path: Path, ident: int = 0) -> Profile:
    """One profile of the user's, checked.

    Raises
    ------
    ProfileError
        Names file, key, value and remedy.
    """
    profile = parse_profile(read_toml(path), str(path), ident, builtin=False)
    _check_file_name(path.stem, profile, str(path))
    return profile


def read_toml(path: Path) -> dict[str, Any]:
    """A small TOML file; raises ProfileError when it is missing, too large, not text or not TOML."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ProfileError(
            str(path), "", f"cannot be read: {error.strerror or error}", "Check the path"
        ) from None
    return _parse_toml(raw, str(path))


def _parse_toml(raw: bytes, file: str) -> dict[str, Any]:
    if len(raw) > MAX_FILE_BYTES:
        raise ProfileError(
            file, "", f"is larger than {MAX_FILE_BYTES >> 10} KiB", "A profile is a small file"
        )
    try:
        return tomllib.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ProfileError(file, "", f"is not UTF-8 text at byte {error.start}", "Save it as UTF-8") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        problem = "is nested too deep" if isinstance(error, RecursionError) else f"is not TOML: {error}"
        raise ProfileError(file, "", problem, "See docs/profiles.md for an example") from None


def _check_file_name(stem: str, profile: Profile, file: str) -> None:
    if stem != profile.name:
        raise ProfileError(
            file,
            "name",
            f"{profile.name!r} differs from the file's name",
            f"Rename the file to {profile.name}.toml or set name to it",
        )


@lru_cache(maxsize=1)
def _builtin() -> tuple[Profile, ...]:
    paths = sorted(p for p in Path(__file__).parent.glob("*.toml") if p.name != ATTACK_FILE)
    others = [path.stem for path in paths if path.stem not in NATIVE_IDS]
    idents = dict(NATIVE_IDS) | {name: FIRST_BUILTIN_ID + place for place, name in enumerate(others)}
    profiles = []
    for path in paths:
        profile = parse_profile(read_toml(path), path.name, idents[path.stem], builtin=True)
        _check_file_name(path.stem, profile, path.name)
        profiles.append(profile)
    return tuple(profiles)


def _user_files(extra: Sequence[Path]) -> Iterator[Path]:
    folders = os.environ.get(FOLDERS_VARIABLE)
    named = folders.split(os.pathsep) if folders is not None else [DEFAULT_FOLDER]
    for text in filter(None, named):
        folder = Path(text).expanduser()
        if folder.is_dir():
            yield from sorted(folder.glob("*.toml"))
        elif folders is not None:
            raise ProfileError(
                text,
                "",
                "is not a folder",
                f"Create it, or correct the variable {FOLDERS_VARIABLE}",
            )
    for path in extra:
        yield from sorted(path.glob("*.toml")) if path.is_dir() else (path,)

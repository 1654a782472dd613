"""Names of the ATT&CK for ICS techniques that profiles and rules refer to, read from ``attack.toml``.

The map is data: a newer edition of ATT&CK is a new file, not new code.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from types import MappingProxyType
from typing import Final

FILE: Final = "attack.toml"


@lru_cache(maxsize=1)
def techniques() -> Mapping[str, str]:
    """Technique id (``T0836``) to its name, for every technique of the edition shipped."""
    text = resources.files("grid_profiles").joinpath(FILE).read_text("utf-8")
    return MappingProxyType(dict(tomllib.loads(text)["techniques"]))


def technique_name(ident: str) -> str:
    """Name of a technique, "" for one that is not in the map."""
    return techniques().get(ident, "")


def technique_label(ident: str) -> str:
    """``T0855 Unauthorized Command Message``; the bare id when the name is not known."""
    return f"{ident} {technique_name(ident)}".rstrip()

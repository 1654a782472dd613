"""Bundles by what people call them: a name, its beginning, or the id of an alert."""

from __future__ import annotations

from pathlib import Path

from sensor.bundle.layout import Bundle, load, names
from sensor.errors import InputError, UsageError

NAMED = 5


def bundles(folder: Path) -> tuple[list[Bundle], list[str]]:
    """All bundles, oldest first, and what is wrong with those that cannot be read.

    Raises
    ------
    InputError
        There is no such folder.
    """
    if not folder.is_dir():
        raise InputError(
            f"{folder}: there is no evidence yet. `gridwarden run` makes it with the first alert of min_level"
        )
    found, problems = list[Bundle](), list[str]()
    for name in names(folder):
        try:
            found.append(load(folder / name))
        except InputError as error:
            problems.append(str(error))
    return sorted(found, key=lambda one: (int(one.manifest.get("number", 0)), one.name)), problems


def chosen(folder: Path, wanted: str) -> Bundle:
    """The one bundle with this name, or with an alert whose id begins so.

    Raises
    ------
    UsageError
        None, or several.
    InputError
    """
    every, _ = bundles(folder)
    if not wanted:
        raise UsageError("which bundle? Give its name or the id of one of its alerts")
    exact = [one for one in every if one.name == wanted]
    near = [one for one in every if _called(one, wanted)]
    found = exact or near
    if not found:
        raise UsageError(
            f"no bundle {wanted!r} in {folder}, and none of an alert with such an id; "
            "`gridwarden evidence list` shows them"
        )
    if len(found) > 1:
        more = " and more" if len(found) > NAMED else ""
        shown = ", ".join(one.name for one in found[:NAMED])
        raise UsageError(f"{wanted!r} may be {shown}{more}; give more letters")
    return found[0]


def _called(bundle: Bundle, wanted: str) -> bool:
    ids = [str(alert.get("id", "")) for alert in bundle.alerts]
    return bundle.name.startswith(wanted) or any(ident.startswith(wanted) for ident in ids)

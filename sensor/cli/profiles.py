"""``gridwarden profiles``: which protocols are known, what each kind of message means, and is mine right?"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from sensor.cli.common import Command, out, print_json
from sensor.errors import InputError, UsageError

if TYPE_CHECKING:
    from grid_profiles.loader import Registry
    from grid_profiles.schema import Alternatives, Expression, Kind, Profile, Term

COLOURS: Final = {
    "control": "red",
    "setpoint": "red",
    "program": "red",
    "restart": "red",
    "config": "yellow",
    "file": "yellow",
    "time": "yellow",
    "error": "magenta",
    "read": "green",
    "report": "green",
}
FOLDERS_HELP: Final = "Folder or file with profiles of your own (repeatable)."

folders = click.option(
    "--profiles", "extra", multiple=True, type=click.Path(path_type=Path, exists=True), help=FOLDERS_HELP
)
as_json_option = click.option("--json", "as_json", is_flag=True, help="JSON instead of tables.")


@click.group(short_help="List, show and check protocol profiles.")
def command() -> None:
    """List, show and check protocol profiles.

    A profile says where a protocol lives, what its kinds of messages do to the plant, and which fields of
    tshark fill which columns. Your own go into ~/.config/gridwarden/profiles or the folders named by
    GRIDWARDEN_PROFILES; docs/profiles.md shows how to write one.

    \b
    Examples:
      gridwarden profiles list
      gridwarden profiles show modbus
      gridwarden profiles check my_protocol.toml
    """


@command.command("list", cls=Command, short_help="Every protocol that is known.")
@click.option("--category", type=click.Choice(["industrial", "background"]), help="Only these.")
@folders
@as_json_option
def list_profiles(category: str | None, extra: tuple[Path, ...], as_json: bool) -> None:
    """Every protocol that is known, with its ports and number of kinds.

    \b
    Examples:
      gridwarden profiles list
      gridwarden profiles list --category industrial --json
    """
    registry = _registry(extra)
    chosen = [p for p in registry.profiles if category in (None, p.category)]
    if as_json:
        for profile in chosen:
            print_json(_summary(profile))
    else:
        _list_table(chosen)


@command.command("show", cls=Command, short_help="Kinds, columns and fields of one protocol.")
@click.argument("name")
@click.option("--dangerous", is_flag=True, help="Only the kinds that change the plant.")
@click.option("--fields", is_flag=True, help="Also which tshark fields fill each column.")
@folders
@as_json_option
def show(name: str, dangerous: bool, fields: bool, extra: tuple[Path, ...], as_json: bool) -> None:
    """What one protocol is, what each kind of its messages does, and what each column means.

    \b
    Examples:
      gridwarden profiles show modbus
      gridwarden profiles show iec104 --dangerous
      gridwarden profiles show dnp3 --fields
    """
    profile = _find(_registry(extra), name)
    kinds = [kind for kind in profile.kinds.values() if not dangerous or _dangerous(kind)]
    if as_json:
        print_json(_record(profile, kinds))
        return
    _heading(profile)
    _kinds_table(profile, kinds, dangerous)
    if not dangerous:
        _columns_table(profile, fields)


@command.command("check", cls=Command, short_help="Is a profile of your own right?")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@as_json_option
def check(files: tuple[Path, ...], as_json: bool) -> None:
    """Check profiles of your own: format, names, and, where tshark is installed, every field of it.

    Ends with exit code 0 when all are right, and with 3 and a message per problem otherwise.

    \b
    Examples:
      gridwarden profiles check my_protocol.toml
      gridwarden profiles check ~/.config/gridwarden/profiles
    """
    results = [(path, *_examine(path)) for path in _expand(files)]
    for path, profile, problems in results:
        if as_json:
            print_json({"file": str(path), "name": profile and profile.name, "problems": problems})
        elif profile is not None and not problems:
            click.echo(f"{path}: right, {_size(profile)}{_unverified(profile)}")
    bad = [problem for _, _, problems in results for problem in problems]
    if bad:
        raise InputError("\ngridwarden: ".join(bad))


def _registry(extra: tuple[Path, ...] = ()) -> Registry:
    from grid_profiles.loader import load_registry

    return load_registry(extra)


def _find(registry: Registry, name: str) -> Profile:
    import difflib

    try:
        return registry.by_name(name)
    except KeyError:
        near = difflib.get_close_matches(name, registry.names(), 3, 0.4)
        hint = f"Did you mean {' or '.join(near)}? " if near else ""
        raise UsageError(f"no profile {name!r}. {hint}See: gridwarden profiles list") from None


def _expand(files: tuple[Path, ...]) -> Iterable[Path]:
    for path in files:
        if path.is_dir():
            yield from sorted(path.glob("*.toml"))
        else:
            yield path


def _examine(path: Path) -> tuple[Profile | None, list[str]]:
    """A profile and what is wrong with it; each problem names the file."""
    from grid_profiles.loader import builtin_names, load_profile
    from grid_profiles.schema import ProfileError
    from sensor.profile_check import problems, tshark_path

    try:
        profile = load_profile(path)
    except ProfileError as error:
        return None, [str(error)]
    found = []
    if profile.name in builtin_names():
        found.append(f"{path}: name: {profile.name!r} is a built-in profile. Choose another name")
    if tshark_path():
        found += [f"{path}: tshark: {problem}" for problem in problems(profile)]
    return profile, found


def _size(profile: Profile) -> str:
    count = len(profile.tshark.fields) if profile.tshark else 0
    return f"{len(profile.kinds)} kinds, {count} tshark fields"


def _unverified(profile: Profile) -> str:
    from sensor.profile_check import tshark_path

    return " (tshark is not installed: fields not verified)" if profile.tshark and not tshark_path() else ""


def _dangerous(kind: Kind) -> bool:
    from grid_profiles.vocabulary import DANGEROUS

    return kind.cls in DANGEROUS


def _engine(profile: Profile) -> str:
    if profile.native:
        return "native"
    return "tshark" if profile.tshark else "counted only"


def _places(profile: Profile) -> str:
    place = profile.transport
    parts = [f"tcp {port}" for port in place.tcp] + [f"udp {port}" for port in place.udp]
    parts += [f"tls {port}" for port in place.tls] + [f"0x{kind:04X}" for kind in place.ethertypes]
    return ", ".join(parts)


def _summary(profile: Profile) -> dict[str, Any]:
    place = profile.transport
    return {
        "name": profile.name,
        "title": profile.title,
        "category": profile.category,
        "standard": profile.standard,
        "engine": _engine(profile),
        "tcp": list(place.tcp),
        "udp": list(place.udp),
        "tls": list(place.tls),
        "ethertypes": list(place.ethertypes),
        "kinds": len(profile.kinds),
        "dangerous": sum(_dangerous(kind) for kind in profile.kinds.values()),
        "source": profile.source,
    }


def _record(profile: Profile, kinds: list[Kind]) -> dict[str, Any]:
    rows = [
        {
            "code": kind.code,
            "name": kind.name,
            "class": kind.cls.value,
            "dangerous": _dangerous(kind),
            "technique": kind.technique,
            "effect": kind.effect,
        }
        for kind in kinds
    ]
    record = _summary(profile) | {"about": profile.about, "kinds": rows, "columns": dict(profile.columns)}
    if profile.tshark is not None:
        record |= {"filter": profile.tshark.filter, "fields": list(profile.tshark.fields)}
    return record


def _list_table(profiles: list[Profile]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("name", "protocol", "category", "decoded by", "where", "kinds", "dangerous"):
        table.add_column(heading, justify="right" if heading in ("kinds", "dangerous") else "left")
    for profile in profiles:
        summary = _summary(profile)
        cells = (profile.name, profile.title, profile.category, _engine(profile), _places(profile))
        danger = summary["dangerous"]
        table.add_row(*map(escape, cells), str(summary["kinds"]), f"[red]{danger}[/]" if danger else "0")
    out.print(table)


def _heading(profile: Profile) -> None:
    from rich.markup import escape

    out.print(f"[bold]{escape(profile.title)}[/]  ({escape(profile.name)}, {profile.category})")
    facts = {
        "standard": profile.standard,
        "where": _places(profile),
        "decoded by": _engine(profile),
        "Wireshark filter": profile.tshark.filter if profile.tshark else "",
    }
    for word, fact in facts.items():
        if fact:
            out.print(f"  {word}: {escape(fact)}", highlight=False)
    if profile.about:
        out.print(f"\n{escape(profile.about)}\n", highlight=False)


def _kinds_table(profile: Profile, kinds: list[Kind], dangerous: bool) -> None:
    from rich.markup import escape
    from rich.table import Table

    from grid_profiles.attack import technique_name

    if not kinds:
        out.print("No kinds that change the plant." if dangerous else "No kinds are named.")
        return
    table = Table(title=f"Kinds of {profile.title}", title_justify="left", box=None, pad_edge=False)
    for heading in ("code", "name", "class", "what it can do", "ATT&CK for ICS"):
        table.add_column(heading, justify="right" if heading == "code" else "left", overflow="fold")
    for kind in kinds:
        technique = f"{kind.technique} {technique_name(kind.technique)}".strip()
        table.add_row(
            str(kind.code),
            escape(kind.name),
            f"[{COLOURS.get(kind.cls.value, 'default')}]{kind.cls.value}[/]",
            escape(kind.effect),
            escape(technique),
        )
    out.print(table)
    if not dangerous:
        count = sum(_dangerous(kind) for kind in kinds)
        out.print(
            f"{len(kinds)} kinds, {count} of them change the plant (show --dangerous).", highlight=False
        )


def _columns_table(profile: Profile, fields: bool) -> None:
    from rich.markup import escape
    from rich.table import Table

    from grid_profiles.schema import COLUMNS

    mapped = profile.tshark.columns if profile.tshark else {}
    chosen = [name for name in COLUMNS if name in profile.columns or name in mapped]
    if not chosen:
        return
    table = Table(title="\nColumns of a message", title_justify="left", box=None, pad_edge=False)
    for heading in ("column", "meaning", *(("tshark fields, the first that holds",) if fields else ())):
        table.add_column(heading, overflow="fold")
    for name in chosen:
        cells = [name, profile.columns.get(name, "")]
        if fields:
            cells.append(_alternatives(mapped.get(name, ())))
        table.add_row(*map(escape, cells))
    out.print(table)


def _alternatives(alternatives: Alternatives) -> str:
    return "\n".join(map(_expression, alternatives))


def _expression(expression: Expression) -> str:
    """One alternative in the words of a formula."""
    said = " + ".join(map(_term, expression.terms))
    if expression.text:
        said = f'"{expression.prefix}" ' * bool(expression.prefix) + f" {expression.join} ".join(
            expression.text
        )
    if expression.plus:
        said += f" + {expression.plus}"
    conditions = [
        f"{name} is {' or '.join(texts)}" if texts else name for name, texts in expression.when.items()
    ]
    conditions += [f"no {name}" for name in expression.unless]
    return f"{said}  [if {', '.join(conditions)}]" if conditions else said


def _term(term: Term) -> str:
    said = term.field if term.constant is None else f"{term.constant} if {term.field}"
    said += f" is {' or '.join(term.equals)}" if term.equals else ""
    said = f"{said} >> {term.shift}" if term.shift else said
    said = f"{said} & 0x{term.mask:X}" if term.mask is not None else said
    said = f"{said} × {term.times}" if term.times != 1 else said
    said = f"{said} × {term.scale:g}" if term.scale != 1.0 else said
    return f"{said} + {term.plus}" if term.plus else said

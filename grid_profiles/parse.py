"""A profile's TOML table turned into a :class:`~grid_profiles.schema.Profile`, strictly.

Refuses: unknown keys, wrong types, codes defined twice, unknown classes and techniques, columns that do
not exist, expressions that say two things at once, text that could be read as a tshark option. Sizes are
bounded, so that a profile cannot grow the sensor. Format: docs/profiles.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from grid_profiles.attack import techniques
from grid_profiles.schema import (
    CATEGORIES,
    COLUMNS,
    FLOAT_COLUMNS,
    FORMAT,
    LAYERS,
    POINT_COLUMNS,
    POINT_FORMATS,
    READINGS,
    ROLES,
    TEXT_COLUMNS,
    Alternatives,
    ConversationMap,
    Expression,
    Kind,
    Profile,
    Term,
    Transport,
    TsharkMap,
    ValuesMap,
)
from grid_profiles.tables import Table, shown
from grid_profiles.vocabulary import Flag, KindClass

NAME: Final = r"[a-z][a-z0-9_]{1,23}"
FIELD: Final = r"[A-Za-z_][A-Za-z0-9_\-]*(\.[A-Za-z0-9_\-]+)*"
PREFERENCE: Final = r"[a-z0-9][a-z0-9_\-]*(\.[a-z0-9_\-]+)+"
DECODE_AS: Final = r"[a-z0-9_]+(\.[a-z0-9_]+)*==[A-Za-z0-9_\-]{1,32},[a-z0-9][a-z0-9_\-]{0,31}"
HEURISTIC: Final = r"[a-z0-9][a-z0-9_\-]{0,47}"

MAX_KINDS: Final = 4096
MAX_CODE: Final = 2**31 - 1
MAX_ALTERNATIVES: Final = 48
MAX_TERMS: Final = 8
MAX_MAP: Final = 512
MAX_NTH: Final = 255
MAX_SHIFT: Final = 2040
LIMIT: Final = 2**53

_TERM_KEYS: Final = (
    "field", "read", "shift", "mask", "times", "plus", "scale", "map", "constant", "equals", "nth",
)  # fmt: skip


def parse_profile(data: Mapping[str, Any], file: str, ident: int, *, builtin: bool) -> Profile:
    """Check a profile and make it usable.

    Parameters
    ----------
    data : dict
        The file as tomllib reads it.
    file : str
        Where it came from, for messages.
    ident : int
        Number of the profile in this registry.
    builtin : bool
        Whether it is shipped with Gridwarden; only such a profile may claim a native decoder.

    Raises
    ------
    ProfileError
        Names file, key, value and remedy.
    """
    top = Table(data, file)
    if top.integer("format") != FORMAT:
        top.fail("format", f"{data['format']} is not a format of this version", f"Use format = {FORMAT}")
    native = top.boolean("native", False)
    if native and not builtin:
        top.fail("native", "true is only for built-in profiles", "Remove the line: tshark will decode it")
    points = top.table("points")
    columns = top.table("columns")
    profile = Profile(
        name=top.text("name", pattern=NAME, example="my_protocol"),
        id=ident,
        title=top.text("title", most=80),
        category=top.choice("category", CATEGORIES),
        standard=top.text("standard", ""),
        native=native,
        about=top.prose("about", 2000),
        transport=_transport(top.table("transport")),
        kinds=_kinds(top),
        columns=_meanings(columns),
        points_format=points.choice("format", POINT_FORMATS, "number"),
        tshark=_tshark(top.table("tshark")) if top.has("tshark") else None,
        source=file,
    )
    points.done()
    top.done()
    return profile


def _transport(table: Table) -> Transport:
    transport = Transport(
        tcp=table.integers("tcp", 1, 0xFFFF),
        udp=table.integers("udp", 1, 0xFFFF),
        ethertypes=table.integers("ethertypes", 0x0600, 0xFFFF),
        tls=table.integers("tls", 1, 0xFFFF),
    )
    table.done()
    return transport


def _kinds(top: Table) -> Mapping[int, Kind]:
    kinds: dict[int, Kind] = {}
    names: dict[str, int] = {}
    for table in top.tables("kinds", MAX_KINDS):
        kind = _kind(table)
        if kind.code in kinds:
            table.fail("code", f"{kind.code} is already {kinds[kind.code].name!r}", "Give each code once")
        if kind.name in names:
            table.fail(
                "name", f"{shown(kind.name)} is already kind {names[kind.name]}", "Give it its own name"
            )
        kinds[kind.code], names[kind.name] = kind, kind.code
    return MappingProxyType(kinds)


def _kind(table: Table) -> Kind:
    technique = table.text("technique", "", pattern=r"T\d{4}", example="T0836")
    if technique and technique not in techniques():
        table.fail("technique", f"{technique} is not in ATT&CK for ICS", "Use an id listed in attack.toml")
    kind = Kind(
        code=table.integer("code", most=MAX_CODE),
        name=table.text("name", most=80),
        cls=KindClass(table.choice("class", tuple(KindClass))),
        technique=technique,
        effect=table.text("effect", ""),
    )
    if not kind.name.strip():
        table.fail("name", "is empty", "Write the name that the standard gives")
    table.done()
    return kind


def _meanings(table: Table) -> Mapping[str, str]:
    for key in table.free_keys():
        if key not in COLUMNS:
            table.fail(key, "is not a column of a message", f"Choose one of: {', '.join(COLUMNS)}")
    return MappingProxyType({key: table.text(key) for key in table.free_keys()})


def _tshark(table: Table) -> TsharkMap:
    heuristics = table.texts("heuristics", HEURISTIC, "mqtt_tcp")
    tshark = TsharkMap(
        filter=table.text("filter", most=500),
        pdu=table.texts("pdu", FIELD, "modbus", least=1),
        nodes=table.texts("nodes", FIELD, "modbus", least=1),
        preferences=_preferences(table.table("preferences")),
        decode_as=table.texts("decode_as", DECODE_AS, "tcp.port==4059,dlms"),
        heuristics=heuristics,
        columns=_columns(table.table("columns"), COLUMNS),
        flags=_flags(table.table("flags")),
        conversation=_conversation(table.table("conversation")),
        values=_values(table.table("values")) if table.has("values") else None,
    )
    if tshark.filter.startswith("-") or not tshark.filter.strip():
        table.fail("filter", f"{shown(tshark.filter)} is not a display filter", 'Write for example "modbus"')
    table.done()
    return tshark


def _preferences(table: Table) -> Mapping[str, str]:
    for key in table.free_keys(most=32):
        Table({"preference": key}, table.file, table.path).text("preference", None, PREFERENCE)
    return MappingProxyType(
        {key: table.text(key, None, r"[A-Za-z0-9_.,:\- ]{1,100}") for key in table.free_keys(most=32)}
    )


def _columns(table: Table, allowed: tuple[str, ...]) -> Mapping[str, Alternatives]:
    columns: dict[str, Alternatives] = {}
    for key in table.free_keys():
        if key not in allowed:
            table.fail(key, "is not a column that can be filled here", f"Choose one of: {', '.join(allowed)}")
        columns[key] = _alternatives(table, key)
        _check_column(table, key, columns[key])
    return MappingProxyType(columns)


def _check_column(table: Table, key: str, alternatives: Alternatives) -> None:
    for place, expression in enumerate(alternatives):
        where = f"{key}[{place}]"
        if key in TEXT_COLUMNS and not expression.text:
            table.fail(where, "gives a number to a text column", f"Use {{ text = [...] }} for {key}")
        if expression.text and key not in (*TEXT_COLUMNS, "point"):
            table.fail(where, "gives a text to a number column", f"Use {{ field = ... }} for {key}")
        if key not in FLOAT_COLUMNS and any(term.scale != 1.0 for term in expression.terms):
            table.fail(where, "scales a whole number", "Use times, or keep scale for the value column")


def _flags(table: Table) -> Mapping[str, Alternatives]:
    names = tuple(flag.name for flag in Flag if flag.name)
    for key in table.free_keys():
        if key not in names:
            table.fail(key, "is not a flag", f"Choose one of: {', '.join(names)}")
    return MappingProxyType({key: _alternatives(table, key) for key in table.free_keys()})


def _conversation(table: Table) -> ConversationMap:
    role_of: Alternatives = ()
    if isinstance(table.data.get("role"), list):
        role, role_of = "", _alternatives(table, "role")
    else:
        role = table.choice("role", ROLES, "server_port")
    conversation = ConversationMap(
        role=role,
        role_of=role_of,
        port=_alternatives(table, "port"),
        sub=_alternatives(table, "sub"),
        layer=table.choice("layer", LAYERS, "ip"),
    )
    for place, expression in enumerate(conversation.sub):
        if not expression.text:
            table.fail(f"sub[{place}]", "gives a number", "Use { text = [...] } for sub")
    table.done()
    return conversation


def _values(table: Table) -> ValuesMap:
    start = table.texts("start", FIELD, "modbus.regnum16", least=1)
    carry = table.texts("carry", FIELD, "dnp3.al.obj")
    rest = {key: value for key, value in table.data.items() if key not in ("start", "carry")}
    return ValuesMap(start, carry, _columns(Table(rest, table.file, table.path), POINT_COLUMNS))


def _alternatives(table: Table, key: str) -> Alternatives:
    return tuple(_expression(one) for one in table.tables(key, MAX_ALTERNATIVES))


def _expression(table: Table) -> Expression:
    said = [key for key in ("field", "terms", "text") if table.has(key)]
    if len(said) != 1:
        table.fail(
            "", f"has {' and '.join(said) or 'none'} of field, terms, text", "Give exactly one of them"
        )
    when = _when(table.table("when"))
    unless = table.texts("unless", FIELD, "modbus.exception_code")
    if said == ["field"]:
        own = {key: value for key, value in table.data.items() if key in _TERM_KEYS}
        term = _term(Table(own, table.file, table.path))
        _only(table, (*_TERM_KEYS, "when", "unless"))
        return Expression(terms=(term,), when=when, unless=unless)
    if said == ["terms"]:
        terms = tuple(_term(one) for one in table.tables("terms", MAX_TERMS))
        if not terms:
            table.fail("terms", "is empty", "Give at least one { field = ... }")
        plus = table.integer("plus", 0, -LIMIT, LIMIT)
        table.done()
        return Expression(terms=terms, plus=plus, when=when, unless=unless)
    expression = Expression(
        text=table.texts("text", FIELD, "mms.domainId", least=1, most=MAX_TERMS),
        join=table.text("join", "/", most=8),
        prefix=table.text("prefix", "", most=40),
        nth=_occurrences(table),
        when=when,
        unless=unless,
    )
    table.done()
    return expression


def _occurrences(table: Table) -> tuple[int, ...]:
    """``nth`` of a text: one number for all of its fields, or a list with one for each."""
    if not isinstance(table.data.get("nth"), list):
        return (table.integer("nth", 0, -1, MAX_NTH),)
    table.known("nth")
    numbers = [Table({"nth": one}, table.file, table.path) for one in table.data["nth"]]
    nth = tuple(one.integer("nth", None, -1, MAX_NTH) for one in numbers)
    if len(nth) != len(table.data.get("text", ())):
        table.fail("nth", f"has {len(nth)} numbers", "Give one number, or one for each field of text")
    return nth


def _only(table: Table, allowed: tuple[str, ...]) -> None:
    for key in allowed:
        table.known(key)
    table.done()


def _when(table: Table) -> Mapping[str, tuple[str, ...]]:
    when: dict[str, tuple[str, ...]] = {}
    for key in table.free_keys(most=MAX_TERMS):
        Table({"field": key}, table.file, table.path).text("field", None, FIELD, example="modbus.func_code")
        when[key] = _words(table, key)
    return MappingProxyType(when)


def _words(table: Table, key: str) -> tuple[str, ...]:
    """One text or a list of texts; an empty tuple when the key is not there."""
    if isinstance(table.data.get(key), str):
        return (table.text(key),)
    return table.texts(key, r".{1,200}", "1")


def _term(table: Table) -> Term:
    term = Term(
        field=table.text("field", pattern=FIELD, example="modbus.func_code"),
        read=table.choice("read", READINGS, "shown"),
        shift=table.integer("shift", 0, 0, MAX_SHIFT),
        mask=table.integer("mask") if table.has("mask") else None,
        times=table.integer("times", 1, -LIMIT, LIMIT),
        plus=table.integer("plus", 0, -LIMIT, LIMIT),
        scale=table.number("scale", 1.0),
        map=_map(table.table("map")) if table.has("map") else None,
        constant=table.integer("constant", None, -LIMIT, LIMIT) if table.has("constant") else None,
        equals=_words(table, "equals"),
        nth=table.integer("nth", 0, -1, MAX_NTH),
    )
    if term.map is not None and term.constant is not None:
        table.fail("constant", "stands beside map", "Give only one of them")
    for key in ("map", "constant", "mask"):
        table.known(key)
    table.done()
    return term


def _map(table: Table) -> Mapping[str, int]:
    keys = table.free_keys(most=MAX_MAP)
    return MappingProxyType({key: table.integer(key, None, -LIMIT, LIMIT) for key in keys})

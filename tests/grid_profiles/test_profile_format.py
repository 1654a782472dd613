"""The validator: what a good profile becomes, and the message that each mistake gets."""

from __future__ import annotations

import contextlib
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grid_profiles import loader
from grid_profiles.loader import load_profile, load_registry
from grid_profiles.parse import parse_profile
from grid_profiles.schema import Profile, ProfileError
from grid_profiles.vocabulary import KindClass

DOCS = Path(__file__).resolve().parents[2] / "docs" / "profiles.md"

GOOD = """
format = 1
name = "mine"
title = "Mine"
category = "industrial"
kinds = [{ code = 6, name = "write", class = "setpoint", technique = "T0836", effect = "changes it" }]
[transport]
tcp = [5000]
[tshark]
filter = "mine"
pdu = ["mine"]
nodes = ["minehead", "mine"]
[tshark.columns]
kind = [{ field = "mine.code", mask = 127 }]
point = [{ terms = [{ field = "mine.unit", times = 256 }, { field = "mine.addr" }], plus = 7 }]
value = [{ field = "mine.value", read = "float_le", scale = 0.5 }]
name = [{ text = ["mine.a", "mine.b"], join = ".", when = { "mine.code" = "6" } }]
[tshark.flags]
NEGATIVE = [{ field = "mine.error", equals = ["1", "2"] }]
[tshark.conversation]
role = [{ field = "mine.dir", map = { 0 = 1, 1 = 2 } }]
[tshark.values]
start = ["mine.reg"]
carry = ["mine.header"]
point = [{ field = "mine.reg" }]
"""


def parse(text: str) -> Profile:
    return parse_profile(tomllib.loads(text), "mine.toml", 99, builtin=False)


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new, 1)


def test_a_good_profile_is_read_as_written() -> None:
    profile = parse(GOOD)
    assert (profile.name, profile.id, profile.native) == ("mine", 99, False)
    assert profile.kind_name(6) == "write"
    assert profile.kind_class(6) == KindClass.SETPOINT
    assert profile.kind_name(77) == "kind 77"
    assert profile.kind_class(77) == ""
    assert profile.points_format == "number"
    assert profile.transport.ports == {5000}
    tshark = profile.tshark
    assert tshark is not None
    assert tshark.columns["kind"][0].terms[0].mask == 127
    assert tshark.columns["point"][0].plus == 7
    assert tshark.columns["name"][0].when == {"mine.code": ("6",)}
    assert tshark.conversation.role == ""
    assert tshark.conversation.role_of[0].terms[0].map == {"0": 1, "1": 2}
    assert tshark.values is not None
    assert tshark.values.start == ("mine.reg",)
    assert set(tshark.fields) == {
        *("mine.code", "mine.unit", "mine.addr", "mine.value", "mine.a", "mine.b"),
        *("mine.error", "mine.dir", "mine.reg", "mine.header"),
    }


MISTAKES: list[tuple[str, str, str, str]] = [
    # what to replace, by what, the key that the message names, a word of the remedy
    ("format = 1", "format = 2", "format", "Use format = 1"),
    ("format = 1", "", "format", "Add format"),
    ('name = "mine"', 'name = "Mine!"', "name", "my_protocol"),
    ('title = "Mine"', "title = 5", "title", "text in quotes"),
    ('title = "Mine"', 'titel = "Mine"', "title", "Add title"),
    ('title = "Mine"', 'title = "M"\ntitel = "Mine"', "titel", "Did you mean title?"),
    ('title = "Mine"', 'title = "a\\u0007b"', "title", "printable line"),
    ('"industrial"', '"industry"', "category", 'Did you mean "industrial"?'),
    ("code = 6", 'code = "6"', "kinds[0].code", "whole number"),
    ("code = 6", "code = -1", "kinds[0].code", "Use 0 to"),
    ("code = 6", "code = true", "kinds[0].code", "whole number"),
    ('"setpoint"', '"set-point"', "kinds[0].class", 'Did you mean "setpoint"?'),
    ('"T0836"', '"T9999"', "kinds[0].technique", "attack.toml"),
    ('"T0836"', '"836"', "kinds[0].technique", "T0836"),
    ("kinds = [{", 'kinds = [{ code = 6, name = "x", class = "read" }, {', "kinds[1].code", "once"),
    (
        "kinds = [{",
        'kinds = [{ code = 7, name = "write", class = "read" }, {',
        "kinds[1].name",
        "its own name",
    ),
    ("tcp = [5000]", "tcp = [70000]", "transport.tcp[0]", "Use 1 to 65535"),
    ("tcp = [5000]", 'tcp = ["5000"]', "transport.tcp[0]", "Remove the quotes"),
    ("tcp = [5000]", "tcp = [5, 5]", "transport.tcp", "Remove one"),
    ("tcp = [5000]", "ethertypes = [22]", "transport.ethertypes[0]", "Use 1536"),
    ('filter = "mine"', 'filter = "-X lua_script:x"', "tshark.filter", "display filter"),
    ('filter = "mine"', "", "tshark.filter", "Add filter"),
    ('pdu = ["mine"]', "pdu = []", "tshark.pdu", "Write for example"),
    ('pdu = ["mine"]', 'pdu = ["mi ne"]', "tshark.pdu[0]", "Write for example"),
    ('nodes = ["minehead"', 'preferences = { "uat" = "x" }\nnodes = ["minehead"', "preference", "match"),
    ('nodes = ["minehead"', 'decode_as = ["x"]\nnodes = ["minehead"', "decode_as[0]", "tcp.port==4059,dlms"),
    ('nodes = ["minehead"', 'heuristics = ["-x"]\nnodes = ["minehead"', "heuristics[0]", "example"),
    ("kind = [{ field", "kinds = [{ field", "tshark.columns.kinds", "Choose one of: kind"),
    ("mask = 127", "mask = 127, maks = 1", "tshark.columns.kind[0].maks", "Did you mean mask?"),
    ("mask = 127", 'text = ["a"]', "tshark.columns.kind[0]", "exactly one"),
    ("mask = 127", "map = {}, constant = 1", "tshark.columns.kind[0].constant", "only one"),
    ("mask = 127", "shift = 9999", "tshark.columns.kind[0].shift", "Use 0 to"),
    ("mask = 127", "scale = 0.5", "tshark.columns.kind[0]", "value column"),
    ("scale = 0.5", "scale = inf", "tshark.columns.value[0].scale", "finite"),
    ("float_le", "double", "tshark.columns.value[0].read", "Choose one of"),
    ('kind = [{ field = "mine.code", mask = 127 }]', 'kind = [{ text = ["a.b"] }]', "kind[0]", "field = "),
    (
        'name = [{ text = ["mine.a", "mine.b"]',
        'name = [{ field = "x" }]\nident = [{ text = ["a"]',
        "name[0]",
        "text",
    ),
    ("terms = [{ field", "terms = [], when = { a = 1 }, x = [{ field", "point[0].when.a", "list"),
    ("NEGATIVE = ", "NEGATIV = ", "tshark.flags.NEGATIV", "NEGATIVE"),
    (
        'role = [{ field = "mine.dir", map = { 0 = 1, 1 = 2 } }]',
        'role = "master"',
        "conversation.role",
        "peer",
    ),
    ('start = ["mine.reg"]', "", "tshark.values.start", "Write for example"),
    ('point = [{ field = "mine.reg" }]', 'name = [{ text = ["a"] }]', "tshark.values.name", "quality"),
    ("[transport]", "[points]\nformat = 'dnp3'\n[transport]", "points.format", "modbus"),
    ("[transport]", "[columns]\ncolour = 'x'\n[transport]", "columns.colour", "seq"),
    ('category = "industrial"', 'category = "industrial"\nnative = true', "native", "Remove the line"),
]


@pytest.mark.parametrize(("old", "new", "key", "remedy"), MISTAKES)
def test_each_mistake_names_file_key_and_remedy(old: str, new: str, key: str, remedy: str) -> None:
    with pytest.raises(ProfileError) as caught:
        parse(changed(old, new))
    message = str(caught.value)
    assert message.startswith("mine.toml: ")
    assert key in caught.value.key
    assert remedy in message


def test_each_field_of_a_text_may_have_its_own_occurrence() -> None:
    old = 'text = ["mine.a", "mine.b"], join = "."'
    for written, nth in (("0", (0,)), ("-1", (-1,)), ("[-1, 2]", (-1, 2))):
        tshark = parse(changed(old, f"{old}, nth = {written}")).tshark
        assert tshark is not None
        assert tshark.columns["name"][0].nth == nth
    for written in ("[]", "[1]", "[0, 0, 0]", "[0, -2]", '["0", 0]', "[true, 0]"):
        with pytest.raises(ProfileError, match="nth"):
            parse(changed(old, f"{old}, nth = {written}"))


def test_bounds_on_sizes() -> None:
    many = ",".join(f'{{ code = {n}, name = "k{n}", class = "read" }}' for n in range(4097))
    with pytest.raises(ProfileError, match="too long"):
        parse(re.sub(r"kinds = \[.*\]", f"kinds = [{many}]", GOOD))
    with pytest.raises(ProfileError, match="too long"):
        parse(changed('title = "Mine"', f'title = "{"x" * 81}"'))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\xff\xfe", "not UTF-8 text at byte 0"),
        (b"format = ", "not TOML"),
        (b"a = 1\na = 2", "not TOML"),
        (b"#" * (256 << 10) + b"\n", "larger than 256 KiB"),
        (b"a = " + b"[" * 5000 + b"]" * 5000, "nested too deep"),
        (b"", "format: is missing"),
    ],
)
def test_a_file_that_is_no_profile(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    with pytest.raises(ProfileError, match=problem) as caught:
        load_profile(path)
    assert caught.value.file == str(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="cannot be read: No such file"):
        load_profile(tmp_path / "none.toml")


def test_the_file_is_named_after_the_profile(tmp_path: Path) -> None:
    path = tmp_path / "other.toml"
    path.write_text(GOOD)
    with pytest.raises(ProfileError, match=r"Rename the file to mine\.toml"):
        load_profile(path)


def put(folder: Path, name: str) -> Path:
    path = folder / f"{name}.toml"
    path.write_text(GOOD.replace('"mine"', f'"{name}"', 1))
    return path


def test_user_profiles_come_after_the_built_in_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    second.mkdir()
    put(first, "zebra")
    put(second, "mine")
    monkeypatch.setenv(loader.FOLDERS_VARIABLE, f"{first}:{second}")
    extra = put(tmp_path, "extra")
    plain = load_registry([extra])
    assert plain.names()[-3:] == ("zebra", "mine", "extra")
    assert plain.by_id(plain.id_of("mine")).title == "Mine"
    assert len({profile.id for profile in plain.profiles}) == len(plain)


@pytest.mark.parametrize("name", ["modbus", "dnp3"])
def test_a_user_may_not_take_a_built_in_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(loader.FOLDERS_VARIABLE, "")
    with pytest.raises(ProfileError, match="already the profile of"):
        load_registry([put(tmp_path, name)])


def test_a_folder_that_is_named_but_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(loader.FOLDERS_VARIABLE, str(tmp_path / "none"))
    with pytest.raises(ProfileError, match="is not a folder"):
        load_registry()


def test_the_example_of_the_documentation_is_right(tmp_path: Path) -> None:
    example = re.search(r"```toml\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert example is not None
    path = tmp_path / "egd.toml"
    path.write_text(example.group(1))
    profile = load_profile(path)
    assert profile.kind_class(32) == KindClass.CONTROL


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
)


@given(st.data())
def test_any_value_anywhere_is_read_or_refused(data: st.DataObject) -> None:
    """Whatever stands at whatever place: a profile, or a ProfileError; never another exception."""
    tree = tomllib.loads(GOOD)
    place: Any = tree
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        deeper = isinstance(place[key], (dict, list)) and bool(place[key]) and data.draw(st.booleans())
        if not deeper:
            break
        place = place[key]
    place[key] = data.draw(values)
    with contextlib.suppress(ProfileError):
        profile = parse_profile(tree, "mine.toml", 99, builtin=False)
        assert profile.tshark is None or all(isinstance(name, str) for name in profile.tshark.fields)

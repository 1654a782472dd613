"""``gridwarden profiles``: what an engineer sees, and the exit codes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sensor.cli import main

EXAMPLE = re.compile(r"```toml\n(.*?)```", re.DOTALL)
DOCS = Path(__file__).resolve().parents[2] / "docs" / "profiles.md"


@pytest.fixture(autouse=True)
def no_user_profiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRIDWARDEN_PROFILES", "")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["profiles", *arguments])


def example(folder: Path, old: str = "", new: str = "") -> str:
    found = EXAMPLE.search(DOCS.read_text())
    assert found is not None
    path = folder / "egd.toml"
    path.write_text(found.group(1).replace(old, new) if old else found.group(1))
    return str(path)


def test_list_is_one_line_per_protocol() -> None:
    lines = [json.loads(line) for line in run("list", "--json").stdout.splitlines()]
    by_name = {line["name"]: line for line in lines}
    assert by_name["modbus"]["engine"] == "native"
    assert by_name["modbus"]["tcp"] == [502]
    assert by_name["modbus"]["dangerous"] > 10
    assert by_name["dlms"]["engine"] == "native"
    assert "dns" not in run("list", "--category", "industrial", "--json").stdout


def test_show_names_kinds_classes_effects_and_columns() -> None:
    result = run("show", "modbus", "--fields")
    assert result.exit_code == 0
    for words in (
        "write single coil",
        "control",
        "T0855",
        "switches one output",
        "transaction id",
        "tcp 502",
    ):
        assert words in result.stdout
    assert "modbus.func_code & 0x7F" in result.stdout


def test_show_dangerous_leaves_out_reads() -> None:
    result = run("show", "iec104", "--dangerous")
    assert "C_DC_NA_1 double command" in result.stdout
    assert "M_SP_NA_1" not in result.stdout


def test_show_as_json() -> None:
    record = json.loads(run("show", "dnp3", "--json").stdout)
    kinds = {kind["code"]: kind for kind in record["kinds"]}
    assert kinds[13] == {
        "code": 13,
        "name": "cold restart",
        "class": "restart",
        "dangerous": True,
        "technique": "T0816",
        "effect": "restarts the whole outstation",
    }
    assert "dnp3.al.func" in record["fields"]


@pytest.mark.parametrize("name", ["modbus", "iec104", "goose", "s7comm", "cip", "http", "tcp", "udp"])
def test_every_kind_of_profile_can_be_shown(name: str) -> None:
    assert run("show", name, "--fields").exit_code == 0


def test_an_unknown_name_is_a_usage_error_with_a_hint() -> None:
    result = run("show", "modbuss")
    assert result.exit_code == 2
    assert "Did you mean modbus" in result.stderr


def test_check_accepts_the_example(tmp_path: Path) -> None:
    result = run("check", example(tmp_path))
    assert result.exit_code == 0, result.stderr
    assert "egd.toml: right, 2 kinds" in result.stdout


def test_check_names_the_mistake(tmp_path: Path) -> None:
    result = run("check", example(tmp_path, '"control"', '"controll"'))
    assert result.exit_code == 3
    assert "egd.toml: kinds[1].class: 'controll' is not known" in result.stderr
    assert 'Did you mean "control"?' in result.stderr


def test_check_reports_every_file(tmp_path: Path) -> None:
    example(tmp_path)
    (tmp_path / "broken.toml").write_text("format = ")
    result = run("check", str(tmp_path), "--json")
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [record["name"] for record in records] == [None, "egd"]
    assert len(records[0]["problems"]) == 1
    assert result.exit_code == 3


def test_check_refuses_a_built_in_name(tmp_path: Path) -> None:
    path = Path(example(tmp_path, 'name = "egd"', 'name = "dnp3"')).rename(tmp_path / "dnp3.toml")
    result = run("check", str(path))
    assert result.exit_code == 3
    assert "built-in profile" in result.stderr


@pytest.mark.tshark
def test_check_finds_fields_that_tshark_does_not_know(tmp_path: Path) -> None:
    result = run("check", example(tmp_path, '"egd.stat"', '"egd.statt"'))
    assert result.exit_code == 3
    assert "egd.statt; did you mean egd.stat?" in result.stderr


@pytest.mark.tshark
def test_check_finds_a_filter_that_tshark_refuses(tmp_path: Path) -> None:
    result = run("check", example(tmp_path, 'filter = "egd"', 'filter = "egd =="'))
    assert result.exit_code == 3
    assert "tshark refuses the filter" in result.stderr

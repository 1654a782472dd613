"""The archive: same bytes, round trip, and a clear refusal of everything else."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest

from detectors import baseline as module
from detectors.baseline import Baseline, BaselineError
from detectors.compare import diff, merge
from detectors.tables import TABLES, conv_fields

CONV = ("iec104", "10.0.0.1", "10.0.0.2", 2404, 'odd "name",\u00e9', 0)


def sample(count: int = 3, origin: str = "learned") -> Baseline:
    made = Baseline(params={"learned_s": 10.0, "packets": 5, "messages": 4, "notes": []}, tool="0.0")
    row = conv_fields(CONV) | {"role": 1, "kind": 50, "cause": 6, "name": "set-point", "class": "setpoint"}
    span = {"first": 1.25, "last": 9.1, "count": count}
    made.tables["kinds"] = TABLES["kinds"].frame([row | span | {"origin": origin}])
    review = conv_fields(CONV) | {"kind": 50, "cause": 6, "id": "ab12", "name": "s", "class": "setpoint"}
    empty = {"points": "", "who": "", "why": "", "when": ""}
    made.tables["review"] = TABLES["review"].frame([review | span | empty | {"origin": "proposed"}])
    return made


def members(made: Baseline) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(made.to_bytes())) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(parts: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def test_round_trip_gives_the_same_bytes(tmp_path: Path) -> None:
    sample().save(tmp_path / "a.baseline")
    loaded = Baseline.load(tmp_path / "a.baseline")
    assert loaded.to_bytes() == sample().to_bytes()
    assert loaded.tables["kinds"].iloc[0]["sub"] == CONV[4]
    assert [p.name for p in tmp_path.iterdir()] == ["a.baseline"]


def test_newer_format_is_refused() -> None:
    parts = members(sample())
    manifest = json.loads(parts["manifest.json"]) | {"format": 99}
    parts["manifest.json"] = json.dumps(manifest).encode()
    with pytest.raises(BaselineError, match=r"format 99.*Update gridwarden"):
        Baseline.from_bytes(packed(parts), "x")


def test_the_first_format_is_read() -> None:
    """A baseline from before station descriptions and audit trails."""
    parts = members(sample())
    later = {f"tables/{name}.csv" for name, table in TABLES.items() if table.since > 1}
    assert {"tables/audit.csv", "tables/devices.csv", "tables/rhythm.csv"} <= later
    manifest = json.loads(parts["manifest.json"]) | {"format": 1}
    for name in later:
        del parts[name]
        del manifest["sha256"][name]
    parts["manifest.json"] = json.dumps(manifest).encode()
    old = Baseline.from_bytes(packed(parts), "x")
    assert old.tables["kinds"].equals(sample().tables["kinds"])
    assert len(old.tables["control_blocks"]) == 0
    assert old.to_bytes() == sample().to_bytes()
    manifest["format"] = 2  # and a table that is missing from a newer one is damage
    parts["manifest.json"] = json.dumps(manifest).encode()
    with pytest.raises(BaselineError, match="does not list the members of a format 2 baseline"):
        Baseline.from_bytes(packed(parts), "x")


def test_a_table_that_came_later_in_a_format_may_be_absent() -> None:
    parts = members(sample())
    manifest = json.loads(parts["manifest.json"])
    optional = [name for name, table in TABLES.items() if table.optional]
    assert "motion" in optional
    for name in optional:
        del parts[f"tables/{name}.csv"]
        del manifest["sha256"][f"tables/{name}.csv"]
    parts["manifest.json"] = json.dumps(manifest).encode()
    old = Baseline.from_bytes(packed(parts), "x")
    assert {len(old.tables[name]) for name in optional} == {0}
    assert old.tables["kinds"].equals(sample().tables["kinds"])


@pytest.mark.parametrize("cell", ["17:2 34", "a:1", "17:2;34:2", "17:2  34:2", "17:-1"])
def test_counts_that_are_none_are_refused(cell: str) -> None:
    made = sample()
    row = dict.fromkeys(TABLES["states"].columns, 0) | {"entered": cell, "origin": "learned"}
    made.tables["states"] = TABLES["states"].frame([row])
    with pytest.raises(BaselineError, match="entered: no counts by bin"):
        Baseline.from_bytes(made.to_bytes(), "x")


def test_changed_member_is_refused() -> None:
    parts = members(sample())
    parts["tables/kinds.csv"] += b"\n"
    with pytest.raises(BaselineError, match=r"tables/kinds.csv was changed.*checksum"):
        Baseline.from_bytes(packed(parts), "x")


@pytest.mark.parametrize("name", ["manifest.json", "params.json", "tables/assets.csv"])
def test_missing_member_is_refused(name: str) -> None:
    parts = members(sample())
    del parts[name]
    with pytest.raises(BaselineError, match="missing"):
        Baseline.from_bytes(packed(parts), "x")


def test_foreign_member_is_refused() -> None:
    with pytest.raises(BaselineError, match="foreign member"):
        Baseline.from_bytes(packed(members(sample()) | {"model.pkl": b"x"}), "x")


def test_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TOTAL", 1000)
    with pytest.raises(BaselineError, match="unpacks to more"):
        Baseline.from_bytes(sample().to_bytes(), "x")


@pytest.mark.parametrize("data", [b"", b"text", b"PK\x03\x04" + b"\0" * 40, b"\xd4\xc3\xb2\xa1" * 10])
def test_no_archive_is_refused(data: bytes) -> None:
    with pytest.raises(BaselineError, match="not a baseline"):
        Baseline.from_bytes(data, "x")


def test_every_truncation_is_refused() -> None:
    data = sample().to_bytes()
    for cut in range(0, len(data) - 1, 97):
        with pytest.raises(BaselineError):
            Baseline.from_bytes(data[:cut], "x")


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BaselineError, match="cannot be read"):
        Baseline.load(tmp_path / "none")


def test_approve_wants_known_ids() -> None:
    made = sample()
    with pytest.raises(BaselineError, match="no entry zz"):
        made.approve({"zz"}, "me", "test", "now")
    assert made.approve({"ab12"}, "me", "test", "now") == ["ab12"]
    assert len(made.pending()) == 0
    assert made.tables["review"].iloc[0]["who"] == "me"


def test_merge_adds_counts_and_keeps_the_trusted_origin() -> None:
    merged = merge(sample(3), sample(4, "approved"))
    row = merged.tables["kinds"].iloc[0]
    assert (row["count"], row["origin"], row["first"]) == (7, "approved", 1.25)
    assert merged.params["learned_s"] == 20.0
    Baseline.from_bytes(merged.to_bytes())


def test_diff_names_what_came_and_went() -> None:
    assert diff(sample(), sample(9)) == []
    changes = diff(Baseline(), sample())
    assert {(change.table, change.change) for change in changes} == {("kinds", "added"), ("review", "added")}

"""Manifest: scenarios of a collection of captures."""

from __future__ import annotations

from pathlib import Path

import pytest

from sensor.errors import LabelsError
from sensor.manifest import labels_of, read_manifest

TEXT = """set,scenario,role,file,notes
dev,a,train,a/train.pcap,
dev,a,normal-test,a/normal.pcap,"x, y"
dev,a,test,a/t.pcap,
dev,b,test,b/t.pcap,nothing to learn from
dev,protocols,,protocols/x.pcap,decoder work
"""


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    for name in ("a/train.pcap", "a/normal.pcap", "a/t.pcap", "b/t.pcap"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    path = tmp_path / "manifest.csv"
    path.write_text(TEXT)
    return path


def test_scenarios_that_can_be_learned_and_tested(manifest: Path) -> None:
    (scenario,) = read_manifest(manifest)
    assert scenario.name == "a"
    assert [path.name for path in scenario.train] == ["train.pcap"]
    assert [path.name for path in scenario.tests] == ["normal.pcap", "t.pcap"]
    assert labels_of(scenario.tests[1]) == manifest.parent / "a" / "t.labels.csv"


def test_a_scenario_by_name(manifest: Path) -> None:
    assert [scenario.name for scenario in read_manifest(manifest, ["b"])] == ["b"]
    with pytest.raises(LabelsError, match="no scenario c; it has a, b"):
        read_manifest(manifest, ["c"])


def test_refusals(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    with pytest.raises(LabelsError, match="cannot be read"):
        read_manifest(path)
    path.write_text("scenario,file\n")
    with pytest.raises(LabelsError, match="line 1: no column role"):
        read_manifest(path)
    path.write_text("scenario,role,file\na,test,gone.pcap\n")
    with pytest.raises(LabelsError, match=r"line 2: column file: 'gone\.pcap' is not there"):
        read_manifest(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(LabelsError, match="not a CSV table in UTF-8"):
        read_manifest(path)

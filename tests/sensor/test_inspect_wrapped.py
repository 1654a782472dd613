"""What ``inspect`` says of traffic that cannot be read: grid protocols behind TLS, S7comm-plus."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from grid_profiles.loader import load_registry
from sensor.cli import main
from tests.fuzz import base as b
from tests.lab import frames as f
from tests.lab import iso as i

ENDS = ("10.0.0.1", "10.0.0.2")


def capture(path: Path, *talks: f.Talk) -> str:
    f.write_pcap(path, sorted(frame for talk in talks for frame in talk.frames))
    return str(path)


def talk(port: int, *sent: bytes) -> f.Talk:
    made = f.Talk(*ENDS, port)
    made.open(0)
    for number, data in enumerate(sent, 1):
        made.client(number * 1_000_000, data)
    return made


@pytest.mark.parametrize(
    ("port", "carried"),
    [
        (19998, "iec104"), (2404, "iec104"), (3782, "mms"), (19999, "dnp3"), (802, "modbus"), (8883, "mqtt"),
        (4843, "opcua"), (2221, "enip"), (443, ""), (8443, ""),
    ],
)  # fmt: skip
def test_tls_is_named_by_what_it_wraps(tmp_path: Path, port: int, carried: str) -> None:
    assert load_registry().behind_tls(port) == carried
    path = capture(tmp_path / "a.pcap", talk(port, b.client_hello("rtu"), b.tls_record(23, bytes(50))))
    shown = CliRunner().invoke(main, ["inspect", path, "--engine", "native", "--json"])
    assert shown.exit_code == 0, shown.output
    rows = {row["protocol"]: row for row in json.loads(shown.stdout)["conversations"]}
    assert rows["tls"]["carries"] == carried
    assert "carries" not in rows["tcp"]
    words = CliRunner().invoke(main, ["inspect", path, "--engine", "native"]).output
    assert (f"tls ({carried})" in words) == bool(carried)


def test_s7comm_plus_is_named(tmp_path: Path) -> None:
    path = capture(tmp_path / "a.pcap", talk(102, i.connect(), i.dt(b"\x72\x02\0\x04abcd\x72\x02\0\0")))
    shown = CliRunner().invoke(main, ["inspect", path, "--engine", "native", "--json"])
    (row,) = [one for one in json.loads(shown.stdout)["conversations"] if one["protocol"] == "cotp"]
    assert row["kinds"] == {"connect request": 1, "S7comm-plus": 1}

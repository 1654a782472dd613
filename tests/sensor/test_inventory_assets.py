"""Inventory: which devices there are and what they say, from frames of the lab's builders."""

from __future__ import annotations

from pathlib import Path

from grid_profiles.vocabulary import Flag
from sensor.engines import open_engine
from sensor.inventory import Inventory, vendor
from tests.lab import frames as f

S = 1_000_000_000


def inventory(tmp_path: Path, frames: list[f.Stamped]) -> Inventory:
    path = tmp_path / "capture.pcap"
    f.write_pcap(path, sorted(frames, key=lambda item: item[0]))
    decoded = open_engine([path], "native")
    found = Inventory(decoded)
    for batch in decoded:
        found.add(batch)
    return found


def poll(client: str, server: str, count: int = 3) -> list[f.Stamped]:
    talk = f.Talk(client, server, 502)
    talk.open(S)
    for number in range(count):
        talk.client((2 + number) * S, f.modbus_adu(number, 1, f.mb_read(3, 0, 2)))
        talk.server((2 + number) * S + 1, f.modbus_adu(number, 1, f.mb_read_response(3, [1, 2])))
    return talk.frames


def test_assets_and_roles(tmp_path: Path) -> None:
    found = inventory(tmp_path, poll("10.0.0.1", "10.0.0.2"))
    assets = {tuple(asset["ip"]): asset for asset in found.assets()}
    assert set(assets) == {("10.0.0.1",), ("10.0.0.2",)}
    assert "modbus client" in assets[("10.0.0.1",)]["roles"]
    assert "modbus server" in assets[("10.0.0.2",)]["roles"]
    assert assets[("10.0.0.1",)]["mac"] == f.lab_mac("10.0.0.1")
    assert (assets[("10.0.0.1",)]["first"], assets[("10.0.0.2",)]["last"]) == (1.0, 4.000000001)


def test_link_local_address_belongs_to_its_device(tmp_path: Path) -> None:
    """fe80::20c:29ff:fe12:3456 has five colons, as a MAC address has."""
    own, other = "fe80::20c:29ff:fe12:3456", "fe80::1"
    found = inventory(tmp_path, [(S, f.udp_frame(own, other, 5353, 5353, b"?"))])
    (asset,) = found.assets()
    assert asset["ip"] == [own]
    assert asset["mac"] == f.lab_mac(own)


def test_a_router_stands_apart(tmp_path: Path) -> None:
    mac = "02:00:00:00:00:01"
    frames = [
        (S + n, f.eth("02:00:00:00:00:02", mac, f.ETH_IPV4,
                      f.ipv4(f"192.0.2.{n}", "10.0.0.2", 17, f.udp(1000, 53, b"?"))))
        for n in range(1, 8)
    ]  # fmt: skip
    assets = inventory(tmp_path, frames).assets()
    assert [asset["mac"] for asset in assets if "router" in asset["roles"]] == [mac]
    assert sum(len(asset["ip"]) for asset in assets) == 7


def test_conversations_and_protocols(tmp_path: Path) -> None:
    found = inventory(tmp_path, poll("10.0.0.1", "10.0.0.2", 4))
    (modbus,) = [row for row in found.conversations() if row["protocol"] == "modbus"]
    assert (modbus["src"], modbus["dst"], modbus["sub"], modbus["messages"]) == (
        "10.0.0.1", "10.0.0.2", "unit 1", 8,
    )  # fmt: skip
    assert sum(modbus["kinds"].values()) == sum(modbus["classes"].values()) == 8
    assert set(modbus["classes"]) == {"read"}
    packets = {row["name"]: row["packets"] for row in found.protocols()}
    assert (packets["ethernet"], packets["ip"], packets["tcp"], packets["modbus"]) == (11, 11, 11, 8)
    assert len(found.points) == 2


def test_malformed_messages_are_counted(tmp_path: Path) -> None:
    talk = f.Talk("10.0.0.1", "10.0.0.2", 502)
    talk.client(S, f.modbus_adu(1, 1, f.mb_read(3, 0, 0)))
    found = inventory(tmp_path, talk.frames)
    assert found.malformed == 1
    assert Flag.MALFORMED == 1


def test_vendor() -> None:
    assert vendor("") == vendor("02:00:00:00:00:01") == vendor("01:0c:cd:01:00:01") == ""
    assert vendor("00:0c:29:00:00:01")

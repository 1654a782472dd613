"""What a station description says about the network: devices, published streams, associations.

Read from IEC 61850-6:2009: ``Communication`` (9.4) for addresses, ``IED`` (9.3) for control blocks, data sets
and report clients, ``DataTypeTemplates`` (9.5) for what members look like. A logical device is called
``ldName`` on the wire, else IED name and ``inst``.

What contradicts itself but can be lived without (an address of the wrong form, a member whose type is not
described) is a remark with file and line, and the value counts as not said; nothing here raises.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import Final

from sensor.scl.document import Node, Place, attribute, children, content
from sensor.scl.types import Leaf

MAX_REMARKS: Final = 200
MAX_NAMES: Final = 64
"""Subscribers of one stream that are kept by name."""


@dataclass(slots=True)
class Address:
    """Where a stream goes: -1 and "" for what is not said; times in ms."""

    subnetwork: str = ""
    access_point: str = ""
    mac: str = ""
    appid: int = -1
    vlan: int = -1
    priority: int = -1
    min_ms: float = -1.0
    max_ms: float = -1.0


@dataclass(slots=True)
class Member:
    """One member of a data set (FCDA) and the values it is sent as."""

    name: str
    leaves: list[Leaf] = field(default_factory=list)
    known: bool = True


@dataclass(slots=True)
class Stream:
    """One published GOOSE or SV control block at one address."""

    protocol: str
    ref: str  # what stands on the wire: gocbRef, or svID
    block: str  # reference of the control block
    ied: str
    address: Address
    description: str = ""
    dataset: str = ""
    ident: str = ""  # goID
    conf_rev: int = -1
    rate: int = -1  # samples per period, per second, or seconds per sample
    rate_mode: str = ""
    asdus: int = -1
    members: list[Member] = field(default_factory=list)
    subscribers: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Device:
    """One access point of an IED in one subnetwork."""

    ied: str
    access_point: str
    subnetwork: str = ""
    ip: str = ""
    mac: str = ""
    manufacturer: str = ""
    type: str = ""
    description: str = ""
    server: bool = False


@dataclass(frozen=True, slots=True)
class Association:
    """A client that is engineered to talk to a server, both as (IED, access point); "" any access point."""

    client: tuple[str, str]
    server: tuple[str, str]


@dataclass(slots=True)
class Station:
    """Everything that one file says."""

    file: str
    ident: str = ""
    edition: str = ""
    revision: str = ""
    devices: list[Device] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)
    associations: list[Association] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    untold: int = 0

    def remark(self, place: Place, node: Node, what: str) -> None:
        """Keep a remark; of very many the rest is counted."""
        if len(self.remarks) < MAX_REMARKS:
            self.remarks.append(place.remark(node, what))
        else:
            self.untold += 1


def edition(root: Node) -> str:
    """Edition by version, revision and release of the root."""
    version, revision = attribute(root, "version"), attribute(root, "revision")
    release = attribute(root, "release")
    if not version:
        return "1"
    if version == "2007":
        return "2.1" if revision == "B" and release not in ("", "1", "2", "3") else "2"
    return f"{version}{revision}{release}"


def header(root: Node, station: Station) -> None:
    """Identity and revision of the description."""
    station.edition = edition(root)
    for node in children(root, "Header"):
        station.ident = attribute(node, "id")
        station.revision = " ".join(
            part for part in (attribute(node, "version"), attribute(node, "revision")) if part
        )


class Communication:
    """Addresses of access points and streams."""

    def __init__(self, root: Node, place: Place, station: Station) -> None:
        self._place, self._station = place, station
        self.points: dict[tuple[str, str], list[Device]] = {}
        self.streams: dict[tuple[str, str, str, str], list[Address]] = {}
        for section in children(root, "Communication"):
            for network in children(section, "SubNetwork"):
                for point in children(network, "ConnectedAP"):
                    self._point(point, attribute(network, "name"))

    def _point(self, node: Node, network: str) -> None:
        ied, name = attribute(node, "iedName"), attribute(node, "apName")
        given = self._parameters(node)
        device = Device(ied, name, network, self._ip(node, given), self._mac(node, given))
        self.points.setdefault((ied, name), []).append(device)
        for kind, protocol in (("GSE", "goose"), ("SMV", "sv")):
            for stream in children(node, kind):
                key = (protocol, ied, attribute(stream, "ldInst"), attribute(stream, "cbName"))
                self.streams.setdefault(key, []).append(self._address(stream, network, name))

    def _address(self, node: Node, network: str, point: str) -> Address:
        given = self._parameters(node)
        return Address(
            network,
            point,
            self._mac(node, given),
            self._number(node, given, "APPID", 16, 0xFFFF),
            self._number(node, given, "VLAN-ID", 16, 0xFFF),
            self._number(node, given, "VLAN-PRIORITY", 10, 7),
            self._milliseconds(node, "MinTime"),
            self._milliseconds(node, "MaxTime"),
        )

    @staticmethod
    def _parameters(node: Node) -> dict[str, str]:
        """The ``P`` elements of an ``Address`` by their type."""
        return {
            attribute(p, "type"): content(p)
            for address in children(node, "Address")
            for p in children(address, "P")
        }

    def _mac(self, node: Node, given: dict[str, str]) -> str:
        text = given.get("MAC-Address", "")
        octets = text.replace("-", ":").lower().split(":")
        good = len(octets) == 6 and all(_number(octet, 16, 255, 2) >= 0 for octet in octets)
        if text and not good:
            self._station.remark(self._place, node, f"MAC-Address {text!r} is none, left out")
        return ":".join(f"{int(octet, 16):02x}" for octet in octets) if good else ""

    def _ip(self, node: Node, given: dict[str, str]) -> str:
        for kind in ("IP", "IPv6"):
            text = given.get(kind, "")
            try:
                address = ipaddress.ip_address(text)
            except ValueError:
                if text:
                    self._station.remark(self._place, node, f"{kind} {text!r} is no address, left out")
                continue
            if not address.is_unspecified:  # 0.0.0.0 stands for "to be engineered"
                return str(address)
        return ""

    def _number(self, node: Node, given: dict[str, str], kind: str, base: int, most: int) -> int:
        text = given.get(kind, "")
        number = _number(text, base, most)
        if text and number < 0:
            self._station.remark(self._place, node, f"{kind} {text!r} is out of range, left out")
        return number

    def _milliseconds(self, node: Node, name: str) -> float:
        """MinTime or MaxTime; the unit is fixed to ms in the schema, but some tools write s."""
        for child in children(node, name):
            number = _number(content(child), 10, 10**7)
            if number >= 0:
                return float(number) * (1.0 if attribute(child, "multiplier", "m") == "m" else 1000.0)
            self._station.remark(self._place, child, f"{name} {content(child)!r} is no time, left out")
        return -1.0


def _number(text: str, base: int, most: int, digits: int = 10) -> int:
    """A plain number from 0 to ``most``, else -1."""
    allowed = "0123456789abcdefABCDEF"[: 22 if base == 16 else 10]
    if not 0 < len(text) <= digits or any(char not in allowed for char in text):
        return -1
    value = int(text, base)
    return value if value <= most else -1


def number_attribute(node: Node, name: str) -> int:
    """A decimal attribute under 2**31, -1 when it is missing or no number."""
    return _number(attribute(node, name), 10, 2**31 - 1)

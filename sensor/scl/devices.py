"""The IEDs of a station description: control blocks with their data sets, servers and report clients."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sensor.scl import document
from sensor.scl.document import Node, Place, attribute, children, content
from sensor.scl.station import (
    MAX_NAMES,
    Association,
    Communication,
    Device,
    Member,
    Station,
    Stream,
    header,
    number_attribute,
)
from sensor.scl.types import Templates, UnknownType

MAX_VALUES: Final = 400_000
"""Values of all data sets that are kept by name."""


@dataclass(slots=True)
class _Ied:
    """What is looked up often in one IED."""

    name: str
    node: Node
    devices: dict[str, str] = field(default_factory=dict)  # LDevice inst -> name on the wire
    nodes: dict[tuple[str, str, str, str], str] = field(default_factory=dict)  # LN -> lnType


def read_station(path: Path) -> Station:
    """Read a station description; raises SclError."""
    return station_of(document.parse(document.load(path), path.name), path.name)


def station_of(root: Node, name: str) -> Station:
    """What an SCL tree says; ``name`` of its file stands in remarks."""
    return _Reader(root, name).read()


class _Reader:
    def __init__(self, root: Node, name: str) -> None:
        self._root, self._place = root, Place(name)
        self._station = Station(name)
        self._templates = Templates(root)
        self._values = 0
        self._associated: set[Association] = set()
        header(root, self._station)
        self._network = Communication(root, self._place, self._station)

    def read(self) -> Station:
        for node in children(self._root, "IED"):
            ied = _Ied(attribute(node, "name"), node)
            if not ied.name:
                self._station.remark(self._place, node, "an IED without a name, left out")
                continue
            points = list(children(node, "AccessPoint"))
            logical = [(point, ld) for point in points for ld in _logical_devices(point)]
            for _, device in logical:
                self._index(ied, device)
            for point in points:
                self._devices(ied, point)
            for point, device in logical:
                self._blocks(ied, attribute(point, "name"), device)
        return self._station

    @staticmethod
    def _index(ied: _Ied, device: Node) -> None:
        inst = attribute(device, "inst")
        ied.devices[inst] = attribute(device, "ldName") or ied.name + inst
        for node in children(device, "LN0", "LN"):
            key = (inst, attribute(node, "prefix"), attribute(node, "lnClass"), attribute(node, "inst"))
            ied.nodes[key] = attribute(node, "lnType")

    def _devices(self, ied: _Ied, point: Node) -> None:
        """The access point, once per address."""
        name, node = attribute(point, "name"), ied.node
        server = any(True for _ in children(point, "Server", "ServerAt"))
        known = self._network.points.get((ied.name, name)) or [Device(ied.name, name)]
        for device in known:
            device.server = server
            device.manufacturer, device.type = attribute(node, "manufacturer"), attribute(node, "type")
            device.description = attribute(node, "desc") or attribute(point, "desc")
            self._station.devices.append(device)
        for found in children(point, "Server"):
            for association in children(found, "Association"):
                if client := attribute(association, "iedName"):
                    self._associate((client, ""), (ied.name, name))

    def _associate(self, client: tuple[str, str], server: tuple[str, str]) -> None:
        made = Association(client, server)
        if made not in self._associated:
            self._associated.add(made)
            self._station.associations.append(made)

    def _blocks(self, ied: _Ied, point: str, device: Node) -> None:
        """Control blocks of a logical device."""
        inst = attribute(device, "inst")
        for node in children(device, "LN0", "LN"):
            sets = {attribute(found, "name"): found for found in children(node, "DataSet")}
            for report in children(node, "ReportControl"):
                for enabled in children(report, "RptEnabled"):
                    for client in children(enabled, "ClientLN"):
                        if name := attribute(client, "iedName"):
                            self._associate((name, attribute(client, "apRef")), (ied.name, point))
            for block in children(node, "GSEControl"):
                self._stream("goose", ied, inst, block, sets)
            for block in children(node, "SampledValueControl"):
                self._stream("sv", ied, inst, block, sets)

    def _stream(self, protocol: str, ied: _Ied, inst: str, node: Node, sets: dict[str, Node]) -> None:
        name, data = attribute(node, "name"), attribute(node, "datSet")
        if attribute(node, "type") == "GSSE" or attribute(node, "multicast") == "false":
            self._station.remark(self._place, node, f"control block {name} of {ied.name} is no GOOSE and no "
                                 "multicast SV, left out")  # fmt: skip
            return
        addresses = self._network.streams.get((protocol, ied.name, inst, name))
        if not addresses:
            self._station.remark(
                self._place,
                node,
                f"control block {name} of {ied.name} has no address: not expected on the network",
            )
            return
        members = self._members(ied, sets[data]) if data in sets else []
        if data not in sets:
            self._station.remark(self._place, node, f"control block {name} of {ied.name} has no data set")
        path = f"{ied.devices[inst]}/LLN0"
        goose = protocol == "goose"
        block = f"{path}${'GO' if goose else 'MS'}${name}"
        for address in addresses:
            self._station.streams.append(
                Stream(
                    protocol,
                    block if goose else attribute(node, "smvID") or block,
                    block,
                    ied.name,
                    address,
                    attribute(node, "desc"),
                    f"{path}${data}" if data else "",
                    attribute(node, "appID") if goose else "",
                    number_attribute(node, "confRev"),
                    number_attribute(node, "smpRate"),
                    "" if goose else attribute(node, "smpMod", "SmpPerPeriod"),
                    number_attribute(node, "nofASDU"),
                    members,
                    sorted({content(found) for found in children(node, "IEDName")} - {""})[:MAX_NAMES],
                )
            )

    def _members(self, ied: _Ied, data_set: Node) -> list[Member]:
        made = []
        for node in children(data_set, "FCDA"):
            member = self._member(ied, node)
            self._values += len(member.leaves)
            if self._values > MAX_VALUES:
                member.leaves, member.known = [], False
            made.append(member)
        return made

    def _member(self, ied: _Ied, node: Node) -> Member:
        inst, prefix, lnclass, number = (
            attribute(node, name) for name in ("ldInst", "prefix", "lnClass", "lnInst")
        )
        data, attributes = attribute(node, "doName"), attribute(node, "daName")
        constraint, index = attribute(node, "fc"), attribute(node, "ix")
        device = ied.devices.get(inst, ied.name + inst)
        dotted = ".".join(part for part in (f"{prefix}{lnclass}{number}", data, attributes) if part)
        member = Member(f"{device}/{dotted}" + (f"({index})" if index else "") + f" [{constraint or '?'}]")
        try:
            node_type = ied.nodes.get((inst, prefix, lnclass, number))
            if node_type is None:
                raise UnknownType(f"no such logical node in {ied.name}")
            member.leaves = self._templates.leaves(node_type, data, attributes, constraint, index)
        except UnknownType as error:
            member.known = False
            self._station.remark(self._place, node, f"{member.name}: form not known: {error}")
        return member


def _logical_devices(point: Node) -> Iterator[Node]:
    for server in children(point, "Server"):
        yield from children(server, "LDevice")

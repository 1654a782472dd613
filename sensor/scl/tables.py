"""A station description as the engineered tables of a baseline, and into one that was learned."""

from __future__ import annotations

from typing import Any, Final

from detectors.baseline import Baseline
from detectors.compare import merge
from detectors.tables import TABLES, Origin
from sensor import __version__
from sensor.scl.station import Association, Device, Station, Stream

ENGINEERED: Final = {"origin": Origin.ENGINEERED.value}
MAX_ASSOCIATIONS: Final = 65_536


def baseline_of(station: Station, complete: bool, sha256: str) -> Baseline:
    """A baseline that holds what a station description says, and nothing learned.

    Parameters
    ----------
    station : Station
    complete : bool
        Whether it describes everybody: then a publisher that it does not know is a stranger.
    sha256 : str
        Of the file, for the record.
    """
    source = {
        "file": station.file,
        "sha256": sha256,
        "edition": station.edition,
        "id": station.ident,
        "revision": station.revision,
        "complete": complete,
    }
    made = Baseline(params={"scl": [source], "notes": []}, tool=__version__)
    rows = {
        "devices": [_device(device) for device in station.devices],
        "control_blocks": [_block(stream) for stream in station.streams],
        "dataset_entries": [row for stream in station.streams for row in _entries(stream)],
        "associations": _associations(station),
    }
    for name, found in rows.items():
        made.tables[name] = TABLES[name].frame(_once(found, TABLES[name].keys))
    return made


def import_into(existing: Baseline, imported: Baseline) -> Baseline:
    """A baseline with its station description renewed; what was learned and approved stays."""
    return merge(imported, existing)


def _device(device: Device) -> dict[str, Any]:
    return {
        "ied": device.ied,
        "access_point": device.access_point,
        "subnetwork": device.subnetwork,
        "address": device.ip,
        "mac": device.mac,
        "server": int(device.server),
        "manufacturer": device.manufacturer,
        "type": device.type,
        "description": device.description,
        **ENGINEERED,
    }


def _block(stream: Stream) -> dict[str, Any]:
    address, values = stream.address, [leaf for member in stream.members for leaf in member.leaves]
    known = bool(stream.members) and all(member.known for member in stream.members)
    return {
        "protocol": stream.protocol,
        "ref": stream.ref,
        "access_point": address.access_point,
        "subnetwork": address.subnetwork,
        "ied": stream.ied,
        "block": stream.block,
        "description": stream.description,
        "destination": address.mac,
        "appid": address.appid,
        "vlan": address.vlan,
        "priority": address.priority,
        "dataset": stream.dataset,
        "go_id": stream.ident,
        "conf_rev": stream.conf_rev,
        "entries": len(stream.members) or -1,
        "values": len(values) if known else -1,
        "min_ms": address.min_ms,
        "max_ms": address.max_ms,
        "rate": stream.rate,
        "rate_mode": stream.rate_mode,
        "asdus": stream.asdus,
        "subscribers": ";".join(stream.subscribers),
        **ENGINEERED,
    }


def _entries(stream: Stream) -> list[dict[str, Any]]:
    """Values in the order of the wire; behind a member of unknown form nobody knows where one stands."""
    rows: list[dict[str, Any]] = []
    for member in stream.members:
        if not member.known:
            break
        name, _, constraint = member.name.rpartition(" [")
        for leaf in member.leaves:
            rows.append(
                {
                    "protocol": stream.protocol,
                    "ref": stream.ref,
                    "entry": len(rows),
                    "ied": stream.ied,
                    "name": f"{name}{leaf.path} [{constraint}",
                    "type": leaf.basic,
                    "tag": leaf.tag,
                    **ENGINEERED,
                }
            )
    return rows


def _associations(station: Station) -> list[dict[str, Any]]:
    """Clients and servers by address; those without one cannot be met on the network."""
    known: dict[str, list[Device]] = {}
    for device in station.devices:
        if device.ip:
            known.setdefault(device.ied, []).append(device)
    rows: list[dict[str, Any]] = []
    for made in station.associations:
        for client in _at(known, made.client):
            for server in _at(known, made.server):
                if client.ip != server.ip and len(rows) < MAX_ASSOCIATIONS:
                    rows.append(_association(made, client, server))
    return rows


def _at(known: dict[str, list[Device]], place: tuple[str, str]) -> list[Device]:
    return [device for device in known.get(place[0], []) if not place[1] or device.access_point == place[1]]


def _association(made: Association, client: Device, server: Device) -> dict[str, Any]:
    return {
        "client": client.ip,
        "server": server.ip,
        "client_ied": made.client[0],
        "server_ied": made.server[0],
        **ENGINEERED,
    }


def _once(rows: list[dict[str, Any]], keys: list[str]) -> list[dict[str, Any]]:
    """Rows of equal identity once, the first one: a description may repeat itself."""
    seen: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        seen.setdefault(tuple(row[key] for key in keys), row)
    return list(seen.values())

"""Who reads what: one line for each protocol and carrier."""

from __future__ import annotations

from typing import Any

from sensor.jit import kernel
from sensor.track.bacnet import emit_bacnet
from sensor.track.coap import emit_coap, emit_coap_datagram
from sensor.track.goose import emit_goose
from sensor.track.iec104 import emit_iec104
from sensor.track.modbus import emit_modbus
from sensor.track.mqtt import emit_mqtt
from sensor.track.opcua import emit_opcua
from sensor.track.state import BACNET, COAP, IEC104, MODBUS, MQTT, OPCUA
from sensor.track.sv import emit_sv
from sensor.wire.coap import coap_length
from sensor.wire.iec104 import iec104_length
from sensor.wire.link import TYPE_GOOSE, TYPE_SV
from sensor.wire.modbus import modbus_length
from sensor.wire.mqtt import mqtt_length
from sensor.wire.opcua import opcua_length
from sensor.wire.status import FOREIGN


@kernel
def pdu_length(proto: int, buf: Any, at: int, end: int) -> tuple[int, int]:
    """(status, bytes) of the PDU of a TCP stream that begins at ``at``; MORE: its header is not complete."""
    if proto == MODBUS:
        return modbus_length(buf, at, end)
    if proto == IEC104:
        return iec104_length(buf, at, end)
    if proto == MQTT:
        return mqtt_length(buf, at, end)
    if proto == OPCUA:
        return opcua_length(buf, at, end)
    if proto == COAP:
        return coap_length(buf, at, end)
    return FOREIGN, 0


@kernel
def pdu_head(proto: int) -> int:
    """Bytes that a PDU cut by the capture must have left to be worth a row."""
    if proto == MODBUS:
        return 8
    if proto == IEC104:
        return 12
    return 4


@kernel
def emit_pdu(memory: Any, names: Any, proto: int, buf: Any, at: int, end: int) -> None:
    """Write the rows of one PDU of a TCP stream.

    ``buf[at:end]`` is the PDU, or its head when ``end - at < memory.context.pdu`` (cut by the capture, or too
    long to keep); a decoder reads what is there and marks nothing malformed for what is not.
    """
    if proto == MODBUS:
        emit_modbus(memory, names, buf, at, end)
    elif proto == IEC104:
        emit_iec104(memory, names, buf, at, end)
    elif proto == MQTT:
        emit_mqtt(memory, names, buf, at, end)
    elif proto == OPCUA:
        emit_opcua(memory, names, buf, at, end)
    elif proto == COAP:
        emit_coap(memory, names, buf, at, end)


@kernel
def emit_datagram(memory: Any, names: Any, proto: int, buf: Any, at: int, end: int, wire_end: int) -> bool:
    """Write the rows of one UDP payload ``buf[at:end]``; False when it is not of this protocol."""
    if proto == COAP:
        return emit_coap_datagram(memory, names, buf, at, end, wire_end)
    if proto == BACNET:
        return emit_bacnet(memory, names, buf, at, end, wire_end)
    return False


@kernel
def emit_ethernet(
    memory: Any, names: Any, kind: int, buf: Any, at: int, end: int, wire_end: int, vlan: int
) -> bool:
    """Write the rows of one frame behind its ethertype ``kind``; False when it is not of a protocol here."""
    if kind == TYPE_GOOSE:
        return emit_goose(memory, names, buf, at, end, wire_end, vlan)
    if kind == TYPE_SV:
        return emit_sv(memory, names, buf, at, end, wire_end, vlan)
    return False

"""Who reads what: one line for each protocol and carrier."""

from __future__ import annotations

from typing import Any

from sensor.jit import kernel
from sensor.track.bacnet import emit_bacnet
from sensor.track.c37118 import emit_c37118, emit_c37118_datagram
from sensor.track.coap import emit_coap, emit_coap_datagram
from sensor.track.dlms import emit_dlms, emit_dlms_datagram
from sensor.track.dnp3 import emit_dnp3, emit_dnp3_datagram
from sensor.track.dns import emit_dns, emit_dns_tcp
from sensor.track.enip import emit_enip, emit_enip_datagram
from sensor.track.goose import emit_goose
from sensor.track.http import emit_http
from sensor.track.iec104 import emit_iec104
from sensor.track.modbus import emit_modbus
from sensor.track.mqtt import emit_mqtt
from sensor.track.opcua import emit_opcua
from sensor.track.profinet import emit_profinet
from sensor.track.ptp import emit_ptp
from sensor.track.redundancy import emit_supervision
from sensor.track.small import emit_arp, emit_internet, emit_ntp
from sensor.track.snmp import emit_snmp
from sensor.track.state import (
    BACNET,
    C37118,
    COAP,
    COTP,
    DLMS,
    DNP3,
    DNS,
    ENIP,
    HTTP,
    IEC104,
    LLMNR,
    MDNS,
    MMS,
    MODBUS,
    MQTT,
    NTP,
    OPCUA,
    PTP,
    S7COMM,
    SNMP,
    TLS,
)
from sensor.track.sv import emit_sv
from sensor.track.tls import emit_tls
from sensor.track.tpkt import emit_tpkt
from sensor.wire.c37118 import c37118_length
from sensor.wire.coap import coap_length
from sensor.wire.dlms import dlms_length
from sensor.wire.dnp3 import dnp3_length, dnp3_next
from sensor.wire.dns import dns_length
from sensor.wire.enip import HEADER as ENIP_HEADER
from sensor.wire.enip import enip_length
from sensor.wire.http import http_length
from sensor.wire.iec104 import iec104_length, iec104_next
from sensor.wire.link import TYPE_ARP, TYPE_GOOSE, TYPE_PROFINET, TYPE_PTP, TYPE_SV
from sensor.wire.modbus import modbus_length
from sensor.wire.mqtt import mqtt_length
from sensor.wire.octets import be16
from sensor.wire.opcua import opcua_length
from sensor.wire.redundancy import TYPE_PRP
from sensor.wire.snmp import snmp_length
from sensor.wire.status import FOREIGN
from sensor.wire.tls import tls_length
from sensor.wire.tpkt import tpkt_length

__all__ = ["emit_datagram", "emit_ethernet", "emit_internet", "emit_pdu", "pdu_head", "pdu_length"]


@kernel
def pdu_length(proto: int, mode: int, buf: Any, at: int, end: int) -> tuple[int, int]:
    """(status, bytes) of the PDU of a TCP stream that begins at ``at``; MORE: its header is not complete.

    ``mode`` is what the protocol's decoder said to expect next.
    """
    if proto == MODBUS:
        return modbus_length(buf, at, end)
    if proto == IEC104:
        return iec104_length(buf, at, end)
    if proto == DNP3:
        return dnp3_length(buf, at, end)
    if proto == DLMS:
        return dlms_length(buf, at, end)
    if proto == MQTT:
        return mqtt_length(buf, at, end)
    if proto == OPCUA:
        return opcua_length(buf, at, end)
    if proto == COAP:
        return coap_length(buf, at, end)
    if proto == DNS:
        return dns_length(buf, at, end)
    if proto == TLS:
        return tls_length(buf, at, end)
    if proto == SNMP:
        return snmp_length(buf, at, end)
    if proto == C37118:
        return c37118_length(buf, at, end)
    if proto == COTP or proto == MMS or proto == S7COMM:
        return tpkt_length(buf, at, end)
    if proto == ENIP:
        return enip_length(buf, at, end)
    if proto == HTTP:
        return http_length(buf, at, end, mode)
    return FOREIGN, 0


@kernel
def next_start(proto: int, buf: Any, at: int, end: int) -> int:
    """Where in foreign bytes from ``at`` on a PDU can begin; ``end`` where it has no start octets."""
    if proto == IEC104:
        return iec104_next(buf, at, end)
    if proto == DNP3:
        return dnp3_next(buf, at, end)
    return end


@kernel
def pdu_head(proto: int) -> int:
    """Bytes that a PDU cut by the capture must have left to be worth a row."""
    if proto == MODBUS:
        return 8
    if proto == IEC104:
        return 12
    if proto == DNP3:
        return 10
    if proto == DLMS:
        return 9
    if proto == DNS:
        return 14
    if proto == TLS:
        return 6
    if proto == C37118:
        return 14
    if proto == COTP or proto == MMS or proto == S7COMM:
        return 7
    if proto == ENIP:
        return ENIP_HEADER
    return 4


@kernel
def emit_pdu(memory: Any, names: Any, pool: Any, proto: int, buf: Any, at: int, end: int) -> None:
    """Write the rows of one PDU of a TCP stream.

    ``buf[at:end]`` is the PDU, or its head when ``end - at < memory.context.pdu`` (cut by the capture, or too
    long to keep); a decoder reads what is there and marks nothing malformed for what is not. ``pool``: where
    fragments are gathered.
    """
    if proto == MODBUS:
        emit_modbus(memory, names, buf, at, end)
    elif proto == IEC104:
        emit_iec104(memory, names, buf, at, end)
    elif proto == DNP3:
        emit_dnp3(memory, names, buf, at, end)
    elif proto == DLMS:
        emit_dlms(memory, names, buf, at, end)
    elif proto == MQTT:
        emit_mqtt(memory, names, buf, at, end)
    elif proto == OPCUA:
        emit_opcua(memory, names, buf, at, end)
    elif proto == COAP:
        emit_coap(memory, names, buf, at, end)
    elif proto == DNS:
        emit_dns_tcp(memory, names, buf, at, end)
    elif proto == TLS:
        emit_tls(memory, names, buf, at, end)
    elif proto == SNMP:
        context = memory.context
        cut = end - at < context.pdu
        emit_snmp(memory, names, buf, at, end, context.sport, context.dport, cut)
    elif proto == C37118:
        emit_c37118(memory, names, buf, at, end)
    elif proto == COTP or proto == MMS or proto == S7COMM:
        emit_tpkt(memory, names, pool, buf, at, end)
    elif proto == ENIP:
        emit_enip(memory, names, buf, at, end)
    elif proto == HTTP:
        emit_http(memory, names, buf, at, end)


@kernel
def emit_datagram(memory: Any, names: Any, proto: int, buf: Any, at: int, end: int, wire_end: int) -> bool:
    """Write the rows of one UDP payload ``buf[at:end]``; False when it is not of this protocol."""
    if proto == PTP:
        return emit_ptp(memory, names, buf, at, end, wire_end, be16(buf, at - 6), 0)
    if proto == DNP3:
        return emit_dnp3_datagram(memory, names, buf, at, end, wire_end)
    if proto == DLMS:
        return emit_dlms_datagram(memory, names, buf, at, end, wire_end)
    if proto == COAP:
        return emit_coap_datagram(memory, names, buf, at, end, wire_end)
    if proto == BACNET:
        return emit_bacnet(memory, names, buf, at, end, wire_end)
    if proto == DNS or proto == MDNS or proto == LLMNR:
        sport, dport = be16(buf, at - 8), be16(buf, at - 6)
        return emit_dns(memory, names, proto, buf, at, end, sport, dport, wire_end > end)
    if proto == SNMP:
        sport, dport = be16(buf, at - 8), be16(buf, at - 6)
        return emit_snmp(memory, names, buf, at, end, sport, dport, wire_end > end)
    if proto == NTP:
        return emit_ntp(memory, names, buf, at, end, wire_end)
    if proto == C37118:
        return emit_c37118_datagram(memory, names, buf, at, end, wire_end)
    if proto == ENIP:
        return emit_enip_datagram(memory, names, buf, at, end, wire_end)
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
    if kind == TYPE_PTP:
        return emit_ptp(memory, names, buf, at, end, wire_end, 0, vlan)
    if kind == TYPE_PRP:
        return emit_supervision(memory, names, buf, at, end, wire_end, vlan)
    if kind == TYPE_ARP:
        return emit_arp(memory, names, buf, at, end, wire_end, vlan)
    if kind == TYPE_PROFINET:
        return emit_profinet(memory, names, buf, at, end, wire_end, vlan)
    return False

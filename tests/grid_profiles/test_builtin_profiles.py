"""The built-in profiles: complete, consistent, and right on real captures."""

from __future__ import annotations

import collections
from pathlib import Path

import pytest
from pdml_reference import rows

from grid_profiles.attack import technique_name, techniques
from grid_profiles.loader import NATIVE_IDS, load_registry
from grid_profiles.schema import Profile
from grid_profiles.vocabulary import DANGEROUS, KindClass

REGISTRY = load_registry()
MAPPED = [profile for profile in REGISTRY.profiles if profile.tshark is not None]


def named(profiles: list[Profile]) -> list[str]:
    return [profile.name for profile in profiles]


def test_native_numbers_never_move() -> None:
    assert {name: REGISTRY.id_of(name) for name in NATIVE_IDS} == dict(NATIVE_IDS)
    others = [p.name for p in REGISTRY.profiles if p.source and p.name not in NATIVE_IDS]
    assert [REGISTRY.id_of(name) for name in sorted(others)] == list(range(64, 64 + len(others)))


def test_the_issue_s_protocols_are_there() -> None:
    wanted = "modbus iec104 goose mms sv dnp3 s7comm enip cip opcua mqtt c37118 bacnet coap profinet_dcp"
    wanted += " profinet_rt ptp dlms arp dns ntp snmp http tls ssh dhcp icmp lldp smb"
    assert set(wanted.split()) <= set(REGISTRY.names())


COMPLETE = {
    "modbus": [1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 15, 16, 17, 20, 21, 22, 23, 24, 43],
    "iec104": [
        *(*range(1, 22), *range(30, 42), *range(45, 52), *range(58, 65), 70),
        *(*range(100, 108), *range(110, 114), *range(120, 128), 256, 513, 514, 516, 520, 528, 544),
    ],
    "dnp3": [*range(34), 129, 130, 131],
    "mms": [*range(78), *range(256, 334), 768, 769, 770],
    "bacnet": [*range(34), *range(256, 271)],
    "mqtt": list(range(1, 16)),
    "c37118": [0, 1, 2, 3, 5, 1025, 1026, 1027, 1028, 1029, 1030, 1032],
    "s7comm": [0x100 + f for f in (0x04, 0x05, 0x1A, 0x1B, 0x1C, 0x1D, 0x1E, 0x1F, 0x28, 0x29, 0xF0)],
    "coap": [1, 2, 3, 4, 5, 6, 7, 65, 68, 69, 132],
    "opcua": [446, 461, 467, 527, 631, 673, 712, 751, 787, 826, 428, 422, 488, 500, 700, 437],
    "cip": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 14, 16, 0x4C, 0x4D, 0x654, 0x64E],
    "profinet_dcp": [768, 1024, 1025, 1280, 1281, 1536],
}


@pytest.mark.parametrize("name", COMPLETE)
def test_catalogues_hold_every_code_of_the_standard(name: str) -> None:
    assert set(COMPLETE[name]) <= set(REGISTRY.by_name(name).kinds)


DANGERS = [
    ("modbus", 5, KindClass.CONTROL),
    ("modbus", 16, KindClass.SETPOINT),
    ("modbus", 90, KindClass.PROGRAM),
    ("iec104", 45, KindClass.CONTROL),
    ("iec104", 50, KindClass.SETPOINT),
    ("iec104", 103, KindClass.TIME),
    ("iec104", 105, KindClass.RESTART),
    ("dnp3", 5, KindClass.CONTROL),
    ("dnp3", 13, KindClass.RESTART),
    ("mms", 5, KindClass.CONTROL),
    ("mms", 44, KindClass.RESTART),
    ("s7comm", 0x129, KindClass.RESTART),
    ("s7comm", 0x11A, KindClass.PROGRAM),
    ("cip", 7, KindClass.CONTROL),
    ("cip", 5, KindClass.RESTART),
    ("opcua", 673, KindClass.SETPOINT),
    ("opcua", 712, KindClass.CONTROL),
    ("bacnet", 20, KindClass.RESTART),
    ("profinet_dcp", 1024, KindClass.CONFIG),
]


@pytest.mark.parametrize(("name", "code", "kind_class"), DANGERS)
def test_dangerous_kinds_say_what_they_do(name: str, code: int, kind_class: KindClass) -> None:
    kind = REGISTRY.by_name(name).kinds[code]
    assert kind.cls is kind_class
    assert kind.cls in DANGEROUS
    assert technique_name(kind.technique)
    assert kind.effect


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("modbus", 3),
        ("iec104", 13),
        ("iec104", 544),
        ("goose", 1),
        ("dnp3", 129),
        ("mms", 768),
        ("s7comm", 0x304),
    ],
)
def test_ordinary_traffic_is_not_dangerous(name: str, code: int) -> None:
    assert REGISTRY.by_name(name).kinds[code].cls not in DANGEROUS


def test_techniques_are_known_and_named() -> None:
    assert len(techniques()) > 75
    used = {kind.technique for p in REGISTRY.profiles for kind in p.kinds.values()} - {""}
    assert all(technique_name(ident) for ident in used)
    assert technique_name("T0000") == ""


def test_no_secret_is_a_column() -> None:
    words = ("passw", "passwd", "secret", "community", "cookie", "authorization", "credential", "nonce")
    for profile in MAPPED:
        assert profile.tshark is not None
        for field in profile.tshark.fields:
            assert not any(word in field.lower() for word in words), f"{profile.name}: {field}"


@pytest.mark.tshark
def test_every_field_and_node_exists_in_tshark() -> None:
    from sensor.profile_check import unknown_names

    found = {p.name: unknown_names(p.tshark) for p in MAPPED if p.tshark is not None}
    assert {name: problems for name, problems in found.items() if problems} == {}


@pytest.mark.tshark
def test_tshark_accepts_every_filter_and_option() -> None:
    """One run per distinct set of options; all filters in one expression."""
    from dataclasses import replace

    from sensor.profile_check import problems

    first = MAPPED[0].tshark
    assert first is not None
    together = " || ".join(f"({p.tshark.filter})" for p in MAPPED if p.tshark is not None)
    assert problems(replace(MAPPED[0], tshark=replace(first, filter=together))) == []
    for profile in MAPPED:
        if profile.tshark is not None and (
            profile.tshark.preferences or profile.tshark.decode_as or profile.tshark.heuristics
        ):
            assert problems(profile) == []


CAPTURES = [
    ("ams", "ams__beckoff_beckoffiplinktc.pcapng", 87, 2),
    ("bacnet", "bacnet__bacnet_bacnet_test.pcap", 22, 12),
    ("c37118", "synphasor__C37.118_C37.118_1PMU_UDP.pcap", 361, 0),
    ("cip", "enip__cip_cip_stop_plc.pcap", 1, 7),
    ("cip", "enip__cip.pcapng", 30, 0x4C),
    ("coap", "coap-mqtt__coap_mqtt.pcap", 19, 3),
    ("dnp3", "dnp3__dnp3_dnp3.pcap", 115, 13),
    ("dnp3", "dnp3__dnp3_file_list_directory.pcap", 13, 25),
    ("enip", "enip__cip.pcapng", 40, 0x65),
    ("ethercat", "ethercat__ethercat.pcapng", 37, 10),
    ("hartip", "hartip__hart_ip_hart_ip.pcap", 48, 768),
    ("knxip", "knx__knxip.pcapng", 4, 0x201),
    ("mms", "mms__IEC61850_8d7c7db0-9804-012b-b2a6-0016cb8cea27.pcap", 163, 768),
    ("mms", "mms__IEC61850_MMS_mms-killRequest.pcap", 2, 44),
    ("mqtt", "mqtt__mqtt5-pub-qos2_input.pcap", 7, 3),
    ("omron_fins", "omron-fins__omron_omron_test.pcap", 6, 0x501),
    ("opcua", "opcua__opc-ua.pcap", 187, 631),
    ("profinet_dcp", "profinet-dcp__profinet_ChangeIPUsingDCP.pcap", 4, 1024),
    ("ptp", "ptp__ptpv2.pcap", 14, 11),
    ("s7comm", "s7comm__s7_snap7_s300_everything.pcapng", 64, 0x129),
    ("s7comm", "s7comm__s7_step7_s300_download.pcapng", 96, 0x11A),
    ("smpp", "smpp__smpp_in_general.pcap", 8, 4),
    ("sip", "sip__sip-tcp-method_sip-tcp.pcap", 2, 6),
]


@pytest.mark.corpus
@pytest.mark.tshark
@pytest.mark.parametrize(("name", "capture", "count", "kind"), CAPTURES)
def test_messages_of_a_real_capture(corpus: Path, name: str, capture: str, count: int, kind: int) -> None:
    profile = REGISTRY.by_name(name)
    found = rows(corpus / "protocols" / capture, profile)
    assert len(found) == count
    kinds = collections.Counter(row["kind"] for row in found)
    assert kind in kinds
    assert None not in kinds
    unnamed = {code for code in kinds if code not in profile.kinds}
    assert unnamed == set()


@pytest.mark.corpus
@pytest.mark.tshark
def test_session_token_of_opcua_is_never_a_point(corpus: Path) -> None:
    """The capture's token is the GUID node id that stands first in every request."""
    found = rows(corpus / "protocols" / "opcua__opc-ua.pcap", REGISTRY.by_name("opcua"))
    points = {row["point"] for row in found} - {None}
    assert "Boolean.Variable" in points
    assert not any(str(point).startswith("1f0ed399") for point in points)


@pytest.mark.corpus
@pytest.mark.tshark
def test_goose_leaves_keep_order_type_and_exact_value(corpus: Path) -> None:
    (row,) = rows(corpus / "protocols" / "goose__goose-single.pcapng", REGISTRY.by_name("goose"))
    assert (row["seq"], row["state"], row["aux"], row["cause"]) == (1, 1102, 3000, 130001)
    assert row["value"] == 0x4D546545 + 0x8AC083 / 2**24
    leaves = row["values"]
    assert isinstance(leaves, list)
    assert [leaf["kind"] for leaf in leaves] == [0x87, 0x84] * 6
    assert leaves[0]["value"] == 243.1600341796875  # 0x437328F8; tshark shows 243.16


@pytest.mark.corpus
@pytest.mark.tshark
def test_several_apdus_of_a_frame_keep_their_own_values(corpus: Path) -> None:
    found = rows(corpus / "protocols" / "iec104__iec104.pcap", REGISTRY.by_name("iec104"))
    third = [row for row in found if row["frame"] == 8]
    assert [row["kind"] for row in third][:2] == [100, 1]
    assert third[0]["values"] == [{"point": 10 << 24, "kind": 100, "value": 20, "quality": None}]
    assert len(third[1]["values"]) == 4

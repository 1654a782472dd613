"""Names: any bytes and addresses there and back, tables that fill, text that would harm a terminal."""

from __future__ import annotations

import ipaddress
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grid_profiles.vocabulary import ANY_POINT
from sensor.names import TABLE_FULL, Limits, Names, printable
from sensor.track.table import EMPTY, FULL, MAX_KEY, intern, lookup, make_table
from tests.reference.run import registry


@pytest.fixture(scope="module")
def names() -> Names:
    return Names(registry())


def put(table: object, key: bytes) -> int:
    return int(intern(table, np.frombuffer(key or b"\0", np.uint8), 0, len(key)))


@given(st.lists(st.binary(max_size=300), max_size=60))
def test_any_bytes_there_and_back(keys: list[bytes]) -> None:
    """Equal bytes have one number, others another; what is longer than 255 octets counts by its head."""
    table = make_table(100, 1 << 16)
    known: dict[bytes, int] = {b"": EMPTY}
    for key in keys:
        ident = put(table, key)
        assert ident == known.setdefault(key[:MAX_KEY], ident)
        assert lookup(table, ident) == key[:MAX_KEY]
    assert len(set(known.values())) == len(known)
    assert FULL not in known.values()


@given(st.lists(st.binary(min_size=1, max_size=20), min_size=20, max_size=60, unique=True))
def test_a_full_table_keeps_what_it_has(keys: list[bytes]) -> None:
    table = make_table(12, 150)
    first = {key: put(table, key) for key in keys}
    assert {key: put(table, key) for key in keys} == first
    kept = [key for key, ident in first.items() if ident != FULL]
    assert 0 < len(kept) <= 10
    assert sum(map(len, kept)) <= 150
    assert all(lookup(table, first[key]) == key for key in kept)
    assert lookup(table, FULL) == b""
    assert lookup(table, 10**6) == b""


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_addresses_there_and_back(names: Names, address: ipaddress.IPv4Address) -> None:
    assert names.endpoint(names.intern_endpoint(str(address))) == str(address)


@given(st.binary(min_size=6, max_size=6))
def test_macs_there_and_back(names: Names, octets: bytes) -> None:
    text = octets.hex(":")
    assert names.endpoint(names.intern_endpoint(text)) == text


@pytest.mark.parametrize(
    "text", ["1:22:333:4444::55", "fe80::20c:29ff:fe12:3456", "::", "::ffff:10.0.0.1", "1::2:3:4:5555:6"]
)
def test_ipv6_that_looks_like_a_mac(names: Names, text: str) -> None:
    assert names.endpoint(names.intern_endpoint(text)) == str(ipaddress.ip_address(text))


@given(st.text(max_size=80))
def test_texts_there_and_back(names: Names, text: str) -> None:
    assert names.text(names.intern_text(text)) == printable(text.encode()[:MAX_KEY])


@given(st.text(st.characters(categories=["Cs", "Lu"]), max_size=20))
def test_lone_surrogates_do_not_raise(names: Names, text: str) -> None:
    """JSON may spell half a surrogate pair; no encoding holds it."""
    names.text(names.intern_text(text))


@given(st.binary(max_size=80))
def test_printable_is_harmless(raw: bytes) -> None:
    text = printable(raw)
    assert text.isprintable()
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in text)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"breaker 1", "breaker 1"),
        ("Umspannwerk Süd".encode(), "Umspannwerk Süd"),
        (b"a\0b", "a\\x00b"),
        (b"\x1b]0;owned\x07", "\\x1b]0;owned\\x07"),
        (b"line\r\nline", "line\\r\\nline"),
        ("\u202egnp.exe".encode(), "\\u202egnp.exe"),
        ("\u2028".encode(), "\\u2028"),
        (b"\xff\xfe", "\\xff\\xfe"),
        (b"\xed\xa0\x80", "\\xed\\xa0\\x80"),
    ],
)
def test_hostile_text(raw: bytes, text: str) -> None:
    assert printable(raw) == text


@given(
    st.integers(1, 7), st.ip_addresses(v=4), st.ip_addresses(v=6), st.integers(0, 65535), st.text(max_size=9),
    st.integers(0, 4095),
)  # fmt: skip
def test_conversations_there_and_back(
    names: Names,
    proto: int,
    client: ipaddress.IPv4Address,
    server: ipaddress.IPv6Address,
    port: int,
    sub: str,
    vlan: int,
) -> None:
    ids = (proto, names.intern_endpoint(str(client)), names.intern_endpoint(str(server)), port,
           names.intern_text(sub), vlan)  # fmt: skip
    conv = names.intern_conversation(*ids)
    assert names.conversation_ids(conv) == ids
    words = names.conversation(conv)
    assert words.key == (names.protocol(proto), str(client), str(server), port, printable(sub.encode()), vlan)
    assert names.intern_conversation(*ids) == conv


def test_what_was_never_given_has_no_name() -> None:
    names = Names(registry())
    assert names.endpoint(EMPTY) == names.text(EMPTY) == ""
    assert names.endpoint(FULL) == names.text(FULL) == TABLE_FULL
    assert names.conversation(EMPTY).protocol == ""
    assert names.conversation(FULL).protocol == TABLE_FULL
    assert names.conversation_ids(FULL) == (0, 0, 0, 0, 0, 0)
    assert names.protocol(999) == ""
    assert names.kind(999, 5) == "kind 5"
    assert names.kind(1, -1) == names.point(1, -1) == names.kind_class(999, 5) == ""


def test_points_in_words(names: Names) -> None:
    text = names.intern_text("LD0/LLN0$GO$g")
    ids = {name: names.protocol_id(name) for name in ("modbus", "iec104", "goose", "udp")}
    assert names.point(ids["modbus"], 1 << 24 | 4 << 16 | 100) == "unit 1 holding register 100"
    assert names.point(ids["modbus"], 255 << 24 | 7 << 16 | 1) == "unit 255 table 7 1"
    assert names.point(ids["iec104"], 65535 << 24 | 0xFFFFFF) == "CA 65535 IOA 16777215"
    assert names.point(ids["goose"], text << 16 | ANY_POINT) == "LD0/LLN0$GO$g"
    assert names.point(ids["goose"], text << 16 | 3) == "LD0/LLN0$GO$g [3]"


def test_counters_tell_what_was_refused() -> None:
    names = Names(registry(), Limits(endpoints=5, texts=5, text_bytes=100, conversations=5))
    for number in range(10):
        names.intern_endpoint(f"10.0.0.{number}")
        names.intern_text(f"text {number}")
        names.intern_conversation(1, number, 0, 0)
    assert names.counters() == {
        "endpoints": 3, "texts": 3, "conversations": 3,
        "endpoints_refused": 7, "texts_refused": 7, "conversations_refused": 7,
    }  # fmt: skip
    assert names.endpoint(names.intern_endpoint("10.0.0.0")) == "10.0.0.0"
    assert names.text(names.intern_text("text 9")) == TABLE_FULL

"""Addresses inside sentences: none stays, and nothing else changes."""

from __future__ import annotations

import ipaddress
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensor.errors import InputError
from sensor.pseudonym.key import Pseudonyms
from sensor.pseudonym.text import Scrubber

KEY = b"a key that is long enough for tests"
PSEUDONYMS = Pseudonyms(KEY, ["TR1PROT", "BCU1", "UW-Nord"])
SCRUBBER = Scrubber(PSEUDONYMS)
WORDS = st.sampled_from(
    ["", " ", "host ", "from ", "(", "[", "→", " to ", ": ", "; ", '"', "src=", "/", " at ", "never seen: "]
)
AFTER = st.sampled_from(
    ["", " ", ")", "]", "→", ".", ", ", ":502", ": ", ";", '"', "/24", "'s", "%eth0", "?"]
)

ipv4 = st.ip_addresses(v=4).filter(
    lambda a: (
        int(a) >> 24 not in (0, 127) and a not in ipaddress.ip_network("224.0.0.0/24") and int(a) < 2**32 - 1
    )
)
short = st.builds(
    lambda prefix, tail: ipaddress.IPv6Address(f"{prefix}::{tail:x}"),
    st.sampled_from(["fe80", "fd00:12", "2001:db8", "2a02:8070:1", "fc01"]),
    st.integers(1, 0xFFFF),
)
ipv6 = st.one_of(
    short,
    st.ip_addresses(v=6).filter(
        lambda a: a.ipv4_mapped is None and a.packed[0] != 0xFF and str(a).count(":") >= 4 and int(a) >> 32
    ),
)
mac = st.binary(min_size=6, max_size=6).filter(
    lambda raw: (
        raw not in (bytes(6), b"\xff" * 6) and raw[:2] not in (b"\x01\x80", b"\x01\x00", b"33", b"\x01\x1b")
    )
)


def notations(address: ipaddress.IPv6Address) -> list[str]:
    return [str(address), address.exploded, str(address).upper(), address.exploded.lstrip("0") or "0"]


@given(WORDS, ipv4, AFTER)
def test_an_ipv4_address_in_a_sentence_is_replaced(before: str, address: object, after: str) -> None:
    text = f"{before}{address}{after}"
    made = SCRUBBER.text(text)
    assert made == f"{before}{PSEUDONYMS.address(str(address))}{after}"
    assert made != text


@given(WORDS, ipv6, st.integers(0, 3), AFTER.filter(lambda text: not text.startswith(":")))
def test_an_ipv6_address_in_any_notation_is_replaced(
    before: str, address: ipaddress.IPv6Address, which: int, after: str
) -> None:
    text = notations(address)[which]
    made = SCRUBBER.text(f"{before}{text}{after}")
    assert made == f"{before}{PSEUDONYMS.address(str(address))}{after}"


@given(ipv6)
def test_an_ipv6_address_with_something_behind_a_colon_does_not_stay(address: ipaddress.IPv6Address) -> None:
    for text in (str(address), address.exploded):
        for after in (":502", ": never seen", ":"):
            assert text not in SCRUBBER.text(f"from {text}{after}")


@given(mac, st.sampled_from([":", "-"]), st.booleans(), WORDS, AFTER.filter(lambda text: text != ":502"))
def test_a_mac_address_in_any_notation_is_replaced(
    raw: bytes, separator: str, upper: bool, before: str, after: str
) -> None:
    text = raw.hex(separator).upper() if upper else raw.hex(separator)
    made = SCRUBBER.text(f"{before}{text}{after}")
    assert made.lower() == f"{before}{PSEUDONYMS.mac(raw).hex(separator)}{after}".lower()


@given(mac)
def test_what_is_made_of_a_mac_address_is_replaced(raw: bytes) -> None:
    made = PSEUDONYMS.mac(raw).hex()
    dotted = ".".join(raw.hex()[at : at + 4] for at in (0, 4, 8))
    identity = raw[:3] + b"\xff\xfe" + raw[3:]
    wanted = f"{made[:6]}fffe{made[6:]}"
    assert SCRUBBER.text(f"clock 0x{identity.hex()} of") == f"clock 0x{wanted} of"
    assert SCRUBBER.text(f"clock {identity.hex(':')} of").replace(":", "") == f"clock {wanted} of"
    assert SCRUBBER.text(f"is at {dotted}.").replace(".", "") == f"is at {made}"


@given(st.lists(st.one_of(ipv4.map(str), ipv6.map(str), mac.map(lambda raw: raw.hex(":"))), min_size=1))
def test_many_in_one_sentence_and_none_is_taken_twice(addresses: list[str]) -> None:
    made = SCRUBBER.text(" to ".join(addresses))
    assert made == " to ".join(str(PSEUDONYMS.address(address)) for address in addresses)


@pytest.mark.parametrize(
    "text",
    [
        "at 09:03:02 and 23:59:59.123456, 2026-11-25T12:00:00Z",
        "firmware 4.0.17.2, version 1.2.3.4, v2.10.3.4, Release 7.1.0.5, V1.0.0.1 and 1.2.3",
        "OID 1.3.6.1.4.1.9.2 and 1.3.6.1 and 1.0.9506.2.1 and oid: 1.2.3.4",
        "TR2CTRLLD0/LLN0$GO$gcbPos [3], XBCU1LD0/LLN0$GO$gcb, IED1.LD0.MMXU1",
        "1-0:1.8.0*255 and 1.0.1.8.0.255",
        "CA 1 IOA 4005, unit 1 holding register 100, LLN0$ST$Mod$stVal",
        "90 to 100, 4.3 ranges beyond; 0.0.0.0 and 255.255.255.255 and 127.0.0.1 and ::1 and ::",
        "ff:ff:ff:ff:ff:ff, 00:00:00:00:00:00 and 01:80:c2:00:00:0e",
        "ns=2;s=Boiler::Add, DB1::2, std::face, a::b",
        "ratio 3:4:5, 12:30, 1:2",
        "999.1.1.1 and 1.2.3 and 10.0.0",
        "stNum 46; due was stNum 47 or 48; 0x88b8 and 3f2a77b01c9d",
        "deadbeefcafe00112233445566778899",
        "\u2192 \u4e2d\u6587 \u00e9",
    ],
)
def test_what_is_no_address_stays(text: str) -> None:
    assert SCRUBBER.text(text) == text


@given(st.text(max_size=200))
def test_any_text_can_be_scrubbed_and_none_raises(text: str) -> None:
    SCRUBBER.text(text, [text])


@given(st.text(alphabet="0123456789abcdefABCDEF:.-%/$ ", max_size=120))
def test_no_address_is_left_in_texts_made_of_their_letters(text: str) -> None:
    """Whatever stands there: what is an address between blanks before is none of the same after."""
    made = SCRUBBER.text(text)
    for before in text.split(" "):
        try:
            address = ipaddress.ip_address(before)
        except ValueError:
            continue
        pseudonym = PSEUDONYMS.address(before)
        told = (
            pseudonym in (str(address), None)
            or address.packed[:12] == bytes(12)
            or before not in made.split(" ")
        )
        harmless = before.startswith("0.") or before == "1.3.6.1" or before.count(":") in range(1, 4)
        assert told or harmless or pseudonym == before, (text, made)


def test_what_the_record_names_is_replaced_wherever_it_stands() -> None:
    known = ["10.20.30.41", "fe::ed"]
    text = "version 10.20.30.41 of client_10.20.30.41.502, fe::ed; 110.20.30.41"
    made = SCRUBBER.text(text, known)
    assert "10.20.30.41" not in made.replace("110.20.30.41", "")
    assert "fe::ed" not in made


def test_names_alone_and_in_references() -> None:
    pseudonym = PSEUDONYMS.name("TR1PROT")
    assert len(pseudonym) == 7
    assert pseudonym.isalnum()
    station = PSEUDONYMS.name("UW-Nord")
    made = SCRUBBER.text("TR1PROTLD0/LLN0$GO$gcbTrip of TR1PROT, not TR1PROTECT, XTR1PROT; UW-Nord")
    assert made == (f"{pseudonym}LD0/LLN0$GO$gcbTrip of {pseudonym}, not TR1PROTECT, XTR1PROT; {station}")


def test_another_key_gives_other_pseudonyms_and_the_same_key_the_same() -> None:
    other = Pseudonyms(KEY + b"x")
    for address in ("10.20.30.41", "fe80::1", "02:00:0a:14:1e:42"):
        assert PSEUDONYMS.address(address) == Pseudonyms(KEY).address(address)
        assert PSEUDONYMS.address(address) != other.address(address)
    assert PSEUDONYMS.name("BCU1") != Pseudonyms(KEY + b"x", ["BCU1"]).name("BCU1")


@given(ipv4, mac, ipv6)
def test_pseudonyms_lie_in_ranges_of_their_own(four: object, raw: bytes, six: object) -> None:
    assert ipaddress.ip_address(str(PSEUDONYMS.address(str(four)))) in ipaddress.ip_network("240.0.0.0/4")
    assert PSEUDONYMS.mac(raw)[0] == (0xF3 if raw[0] & 1 else 0xF2)
    assert str(PSEUDONYMS.address(str(six))).startswith("fd")


def test_one_address_in_all_its_notations_has_one_pseudonym() -> None:
    for texts in (
        ("2001:db8::1", "2001:DB8:0:0:0:0:0:1", "2001:0db8:0000:0000:0000:0000:0000:0001"),
        ("fe80::a", "FE80::A"),
    ):
        assert len({SCRUBBER.text(text) for text in texts}) == 1
    assert SCRUBBER.text("::ffff:10.0.0.1") == f"::ffff:{PSEUDONYMS.address('10.0.0.1')}"
    notations = ("02:00:0a:14:1e:42", "02-00-0A-14-1E-42", "0200.0a14.1e42")
    assert len({re.sub("[:.-]", "", SCRUBBER.text(text)).lower() for text in notations}) == 1


def test_a_short_key_is_refused() -> None:
    with pytest.raises(InputError, match="openssl rand -hex 32"):
        Pseudonyms(b"short")

"""Keyed pseudonyms: the same address gives the same pseudonym, and only the key leads back.

HMAC-SHA256 over kind and address. A pseudonym has the shape of what it stands for, so that a SIEM, a
dashboard and a capture file take it, in ranges that no station uses:

=============  ==========================================  =======================================
address        pseudonym                                   bits of the digest in it
=============  ==========================================  =======================================
MAC            ``f2:…``, a group address ``f3:…``          40
IPv4           240.0.0.0/4 (reserved), not 255.0.0.0/8     27.9
IPv6           ``fd…``, a group address keeps ``ffXX``     120, 112
EUI-64         that of its MAC                             40
name           as long as the name, letters and digits     5 a character
=============  ==========================================  =======================================

With 27.9 bits, in one of 500 sites of 1,000 hosts two hosts share a pseudonym.

Addresses that name nobody stay: unspecified, broadcast, loopback, the groups that standards reserve.
"""

from __future__ import annotations

import base64
import hmac
import ipaddress
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from sensor.errors import InputError

if TYPE_CHECKING:
    from sensor.config.protect import PseudonymConfig
    from sensor.config.schema import Config

LEAST: Final = 16
"""Characters of a key."""

CACHED: Final = 65_536
MAC_TEXT: Final = re.compile(r"[0-9A-Fa-f]{2}([:.-])(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}")
CISCO: Final = re.compile(r"[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}")
_FIXED_MACS: Final = tuple(map(bytes.fromhex, ("0180c2", "01005e0000", "3333000000", "011b19")))
_LOOPBACK: Final = ipaddress.ip_network("127.0.0.0/8")
_LOCAL_GROUPS: Final = ipaddress.ip_network("224.0.0.0/24")


class Pseudonyms:
    """Pseudonyms under one key.

    Parameters
    ----------
    key : bytes
        Secret, at least 16 bytes.
    names : sequence of str
        Names of stations and devices that are identifiers; nothing else is taken for a name.

    Raises
    ------
    InputError
        The key is too short.
    """

    def __init__(self, key: bytes, names: Sequence[str] = ()) -> None:
        if len(key) < LEAST:
            raise InputError(
                f"the key of pseudonyms is shorter than {LEAST} characters: openssl rand -hex 32"
            )
        self._key = key
        self.names = tuple(sorted(set(names), key=lambda name: (-len(name), name)))
        self.mac = lru_cache(CACHED)(self._mac)
        self.ipv4 = lru_cache(CACHED)(self._ipv4)
        self.ipv6 = lru_cache(CACHED)(self._ipv6)
        self.name = lru_cache(CACHED)(self._name)

    def address(self, text: str) -> str | None:
        """Pseudonym of an address given as text, in its own notation; None when it is no address."""
        if MAC_TEXT.fullmatch(text):
            return self.mac_text(text)
        if CISCO.fullmatch(text):
            raw = self.mac(bytes.fromhex(text.replace(".", ""))).hex()
            return ".".join(raw[at : at + 4] for at in (0, 4, 8))
        try:
            found = ipaddress.ip_address(text)
        except ValueError:
            return None
        packed = self.ipv4(found.packed) if found.version == 4 else self.ipv6(found.packed)
        return str(ipaddress.ip_address(packed))

    def mac_text(self, text: str) -> str:
        """Pseudonym of a MAC address with separators, in the same notation."""
        separator = text[2]
        made = self.mac(bytes.fromhex(text.replace(separator, ""))).hex(separator)
        return made.upper() if text.upper() == text and any(c.isalpha() for c in text) else made

    def _digest(self, kind: bytes, value: bytes) -> bytes:
        return hmac.digest(self._key, b"gridwarden pseudonym 1\0" + kind + b"\0" + value, "sha256")

    def _mac(self, raw: bytes) -> bytes:
        if raw in (bytes(6), b"\xff" * 6) or raw.startswith(_FIXED_MACS):
            return raw
        return bytes([0xF2 | (raw[0] & 1)]) + self._digest(b"mac", raw)[:5]

    def _ipv4(self, raw: bytes) -> bytes:
        address = ipaddress.IPv4Address(raw)
        if address in _LOOPBACK or address in _LOCAL_GROUPS or raw in (bytes(4), b"\xff" * 4):
            return raw
        digest = self._digest(b"ipv4", raw)
        return bytes([0xF0 + digest[0] % 15]) + digest[1:4]

    def _ipv6(self, raw: bytes) -> bytes:
        address = ipaddress.IPv6Address(raw)
        if address.ipv4_mapped is not None:
            return raw[:12] + self.ipv4(raw[12:])
        if int(address) <= 1 or (raw[0] == 0xFF and not any(raw[2:14])):
            return raw
        if raw[0] == 0xFF:
            return raw[:2] + self._digest(b"ipv6", raw)[:14]
        return b"\xfd" + self._digest(b"ipv6", raw)[:15]

    def eui64(self, raw: bytes) -> bytes:
        """Of an identity that is made of a MAC address (``ff:fe`` in the middle)."""
        made = self.mac(raw[:3] + raw[5:])
        return made[:3] + raw[3:5] + made[3:]

    def ident(self, ident: str) -> str:
        """Of an alert's or incident's id: a digest of addresses that somebody may guess; "" stays."""
        return self._digest(b"id", ident.encode("utf-8", "surrogateescape")).hex()[:12] if ident else ""

    def _name(self, name: str) -> str:
        wanted, text = len(name), ""
        for count in range(1 + wanted // 48):
            block = self._digest(b"name %d" % count, name.encode("utf-8", "surrogateescape"))
            text += base64.b32encode(block).decode("ascii")[:48]
        return (chr(ord("G") + ord(text[0]) % 20) + text[1:])[:wanted]


def make_pseudonyms(config: Config) -> Pseudonyms:
    """Pseudonyms of a configuration's ``[pseudonyms]``.

    Raises
    ------
    InputError
        There is no key, or it is too short.
    Unavailable
        It cannot be read.
    """
    return pseudonyms_of(config.pseudonyms, str(config.file))


def pseudonyms_of(settings: PseudonymConfig, shown: str) -> Pseudonyms:
    """As :func:`make_pseudonyms`; ``shown`` is the file to name."""
    if settings.key is None:
        raise InputError(
            f"{shown}: pseudonyms need a key: [pseudonyms] with key_file. openssl rand -hex 32 makes one"
        )
    return Pseudonyms(settings.key.read().encode("utf-8"), settings.names)

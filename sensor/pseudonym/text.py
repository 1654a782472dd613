"""Addresses and names inside text: found, and replaced by their pseudonyms.

One pass from left to right, so that a pseudonym is never taken for an address. What looks like an address and
is none stays: version numbers after their word, OIDs, times, references. What is known to be an address,
because the record names it as such, is replaced wherever it stands.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Final

from sensor.pseudonym.key import Pseudonyms

_H = "[0-9A-Fa-f]"
_TOKEN: Final = re.compile(
    rf"""
    (?P<eui>(?<![0-9A-Za-z])(?<!{_H}[:-])
        {_H}{{2}}(?P<a>[:-]){_H}{{2}}(?P=a){_H}{{2}}(?P=a)[fF]{{2}}(?P=a)[fF][eE](?:(?P=a){_H}{{2}}){{3}}
        (?!{_H})(?!(?P=a){_H}))
  | (?P<hexeui>(?<!{_H})(?:0x)?{_H}{{6}}[fF]{{3}}[eE]{_H}{{6}}(?!{_H}))
  | (?P<mac>(?<!{_H})(?<!{_H}[:-])
        {_H}{{2}}(?P<b>[:-])(?:{_H}{{2}}(?P=b)){{4}}{_H}{{2}}(?!{_H})(?!(?P=b){_H}{{2}}(?!{_H})))
  | (?P<cisco>(?<![0-9A-Za-z.]){_H}{{4}}\.{_H}{{4}}\.{_H}{{4}}(?![0-9A-Za-z])(?!\.{_H}))
  | (?P<ipv4>(?<![\d.])(?:\d{{1,3}}\.){{3}}\d{{1,3}}(?!\d)(?!\.\d))
  | (?P<run>{_H}{{0,4}}(?::{_H}{{0,4}}){{2,}}(?:(?:\.\d{{1,3}}){{3}}(?!\d))?)
    """,
    re.VERBOSE,
)
_VERSION: Final = re.compile(
    r"(?:\bv|\bver\.?|\bversions?|\bfirmware|\bfw|\brev(?:ision)?\.?|\brelease|\bbuild|\boid)[\s:=]*$",
    re.IGNORECASE,
)
_OID: Final = re.compile(r"1\.3\.6\.1")
_OPEN, _CLOSE = "\ue000", "\ue001"
_HELD: Final = re.compile(f"{_OPEN}(\\d+){_CLOSE}")
_OURS: Final = str.maketrans({_OPEN: "\ufffd", _CLOSE: "\ufffd"})


SHORT: Final = 4
"""Colons below which an IPv6 address must begin as those that are in use do."""

_IN_USE: Final = (
    *(bytes([first]) for first in range(0x20, 0x40)),  # global (RFC 4291, IANA)
    *(bytes([first]) for first in (0xFC, 0xFD, 0xFE, 0xFF)),  # local to a site or a link, groups
    bytes.fromhex("0064ff9b"),
    bytes(10),  # with an IPv4 address inside
)


class Scrubber:
    """Replaces what it finds in texts.

    Parameters
    ----------
    pseudonyms : Pseudonyms

    Attributes
    ----------
    pseudonyms : Pseudonyms
    """

    def __init__(self, pseudonyms: Pseudonyms) -> None:
        self.pseudonyms = pseudonyms
        # a name stands alone, or at the beginning of a reference: TR1PROT in TR1PROTLD0/LLN0$GO$gcbTrip
        alone = r"(?![A-Za-z0-9_])|(?=[A-Za-z0-9_]*[/$])"
        names = "|".join(map(re.escape, pseudonyms.names))
        self._names = re.compile(rf"(?<![A-Za-z0-9_])(?:{names})(?:{alone})") if names else None

    def text(self, text: str, known: Iterable[str] = ()) -> str:
        """A text with pseudonyms in place of addresses and names.

        Parameters
        ----------
        text : str
        known : iterable of str
            Addresses that are replaced wherever they stand, as long as no longer number goes on beside them.
        """
        held: list[str] = []

        def hold(made: str) -> str:
            held.append(made)
            return f"{_OPEN}{len(held) - 1}{_CLOSE}"

        text = text.translate(_OURS)
        for address in sorted(set(known), key=len, reverse=True):
            made = self.pseudonyms.address(address)
            if made is not None and made != address and address in text:
                pattern = rf"(?<![0-9A-Fa-f]){re.escape(address)}(?![0-9A-Fa-f])"
                text = re.sub(pattern, hold(made), text)
        if self._names is not None:
            text = self._names.sub(lambda match: hold(self.pseudonyms.name(match[0])), text)
        text = _TOKEN.sub(lambda match: hold(self._replaced(match)), text)
        return _HELD.sub(lambda match: held[int(match[1])], text)

    def _replaced(self, match: re.Match[str]) -> str:
        found = match[0]
        kind = match.lastgroup if match.lastgroup not in ("a", "b") else None
        if match["eui"]:
            separator = match["a"]
            return self.pseudonyms.eui64(bytes.fromhex(found.replace(separator, ""))).hex(separator)
        if match["hexeui"]:
            head = found[:2] if found[1:2] == "x" else ""
            return head + self.pseudonyms.eui64(bytes.fromhex(found[len(head) :])).hex()
        if match["mac"]:
            return self.pseudonyms.mac_text(found)
        if match["cisco"]:
            return self.pseudonyms.address(found) or found
        if match["ipv4"]:
            return self._ipv4(found, match.string[max(0, match.start() - 16) : match.start()])
        assert kind == "run"
        before = match.string[match.start() - 1 : match.start()]
        return self._run(found, before.isalnum() or before == "_")

    def _ipv4(self, found: str, before: str) -> str:
        if _VERSION.search(before) or _OID.fullmatch(found) or found.startswith("0."):
            return found
        parts = [int(part) for part in found.split(".")]
        if max(parts) > 255:
            return found
        return str(ipaddress.IPv4Address(self.pseudonyms.ipv4(bytes(parts))))

    def _run(self, found: str, inside: bool) -> str:
        """Groups with colons between them: an IPv6 address with or without something around it, or a time."""
        first = 0
        if inside:  # its first group is the end of a word
            first = found.index(":")
        while first < len(found) and found[first] == ":" and found[first : first + 2] != "::":
            first += 1
        head, body = found[:first], found[first:]
        for end in _ends(body):
            made = self._ipv6(body[:end])
            if made is not None:
                return head + made + body[end:]
        return found

    def _ipv6(self, text: str) -> str | None:
        try:
            address = ipaddress.IPv6Address(text)
        except ValueError:
            return None
        if int(address) < 1 << 32 and "." not in text:  # "::12" is no address that anybody has
            return None
        if text.count(":") < SHORT and not address.packed.startswith(_IN_USE):  # "DB1::2" is a name
            return None
        if "." in text:
            lead, _, tail = text.rpartition(":")
            old = ipaddress.IPv4Address(tail).packed
            return f"{lead}:{ipaddress.IPv4Address(self.pseudonyms.ipv4(old))}"
        return str(ipaddress.IPv6Address(self.pseudonyms.ipv6(address.packed)))


def _ends(body: str) -> list[int]:
    """Where an address at the beginning of a run may end: at its end, or before its last groups (a port)."""
    ends = [len(body)]
    if body.endswith(":") and not body.endswith("::"):
        ends.append(len(body) - 1)
    colons = [at for at, c in enumerate(body) if c == ":"]
    return ends + colons[:1:-1][:3]

"""Back from a pseudonym to what it stands for, at the site, with the key.

HMAC cannot be turned round; what is known here can be run through it: the store's addresses, those in kept
slices, the configured names, and a range that somebody names.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from sensor.errors import UsageError
from sensor.pseudonym.frames import FrameScrub
from sensor.pseudonym.key import Pseudonyms
from sensor.store.sqlite import Store

MOST: Final = 1 << 20
"""Addresses of a range that are tried."""

QUERIES: Final = (
    "SELECT DISTINCT address FROM asset_health",
    "SELECT DISTINCT client FROM links UNION SELECT DISTINCT server FROM links",
    "SELECT DISTINCT src FROM alerts UNION SELECT DISTINCT dst FROM alerts",
    "SELECT DISTINCT mac FROM assets UNION SELECT DISTINCT value FROM assets, json_each(assets.ip)",
)


def table(pseudonyms: Pseudonyms, known: Iterable[str], ids: Iterable[str] = ()) -> dict[str, list[str]]:
    """What each pseudonym stands for; more than one where two share it.

    Parameters
    ----------
    pseudonyms : Pseudonyms
    known : iterable of str
        Addresses as text; what is none is passed over.
    ids : iterable of str
        Of alerts and incidents.
    """
    found: dict[str, list[str]] = {}
    for name in pseudonyms.names:
        found.setdefault(pseudonyms.name(name), []).append(name)
    for address in dict.fromkeys(known):
        made = pseudonyms.address(address)
        if made is not None and made != address:
            found.setdefault(made, []).append(address)
    for ident in ids:
        found.setdefault(pseudonyms.ident(ident), []).append(ident)
    return found


def alert_ids(path: Path) -> Iterator[str]:
    """Ids of alerts and incidents of a store."""
    with Store.look(path) as store:
        yield from (
            str(row[0]) for row in store.query("SELECT id FROM alerts UNION SELECT id FROM incidents")
        )


def in_store(path: Path) -> Iterator[str]:
    """Addresses that a store knows."""
    with Store.look(path) as store:
        for query in QUERIES:
            yield from (str(row[0]) for row in store.query(query) if row[0])


def in_slices(paths: Iterable[Path], pseudonyms: Pseudonyms) -> Iterator[str]:
    """Addresses in the headers of captures; what cannot be read is passed over."""
    from sensor.capture.pcapfile import CaptureFile
    from sensor.errors import CaptureError

    scrub = FrameScrub(pseudonyms)
    for path in paths:
        try:
            scrub.batch([batch for batch in CaptureFile(path).batches() if len(batch)])
        except (CaptureError, OSError):
            continue
    yield from scrub.addresses()


def in_range(text: str) -> Iterator[str]:
    """All addresses of a network such as ``10.20.0.0/16``.

    Raises
    ------
    UsageError
        It is none, or too large.
    """
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise UsageError(f"{text!r} is no network; write for example 10.20.0.0/16") from error
    if network.num_addresses > MOST:
        raise UsageError(f"{text} has more than {MOST:,} addresses; name a smaller network")
    return map(str, network)

"""What the HTTP sinks share: what a status says about the records and about the sink."""

from __future__ import annotations

import email.utils
import re
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import urllib3

from sensor.sinks.base import Refused, Unavailable, clean

LET_IN: Final = {
    401: "the token or signature was refused: check the file it stands in, and that it was not revoked",
    403: "access was denied: the token has no right to write there",
    404: "nothing answers there: check url, bucket or database, and organisation",
    405: "the address takes no POST: check url",
    407: "a proxy wants a login",
}
"""Statuses that speak of the way in, not of the records."""

TAG: Final = re.compile(r"<[^<>]{0,200}>")
"""Proxies answer in HTML."""

LATER: Final = (408, 409, 421, 423, 425, 429)
"""Statuses of the 4xx class that ask for another try."""


def check_status(status: int, body: str, retry_after: str | None = None) -> None:
    """Return for 2xx; raise what the status says otherwise.

    Raises
    ------
    Refused
        400, 413, 422 and the like: it is the content.
    Unavailable
        Everything else.
    """
    if 200 <= status < 300:
        return
    said = clean(TAG.sub(" ", body[:4_000]))
    words = f"HTTP {status}" + (f": {said}" if said else "")
    if status in LET_IN:
        raise Unavailable(f"{words}; {LET_IN[status]}")
    if status == 413:
        raise Refused(words, too_large=True)
    if 400 <= status < 500 and status not in LATER:
        raise Refused(words)
    if 300 <= status < 400:
        raise Unavailable(
            f"{words}; the sink redirects elsewhere, and records are not sent after it: correct url"
        )
    raise Unavailable(words, retry_after=seconds(retry_after))


def seconds(retry_after: str | None) -> float | None:
    """``Retry-After`` in seconds (RFC 9110 10.2.3); None when there is none or it makes no sense."""
    if not retry_after:
        return None
    if retry_after.strip().isdecimal():
        return min(float(retry_after.strip()[:9]), 86_400.0)
    try:
        moment = email.utils.parsedate_to_datetime(retry_after[:64])
    except ValueError:
        return None
    return min(max(0.0, moment.timestamp() - time.time()), 86_400.0)


def tls_context(
    verify: bool, ca_file: Path | None, cert_file: Path | None = None, key_file: Path | None = None
) -> ssl.SSLContext:
    """A client's TLS settings: 1.2 or newer, certificate and name checked unless the user said otherwise.

    Raises
    ------
    Unavailable
        A file cannot be read or is no certificate.
    """
    try:
        context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
        if cert_file is not None:
            context.load_cert_chain(str(cert_file), str(key_file))
    except (OSError, ssl.SSLError) as error:
        names = ", ".join(str(path) for path in (ca_file, cert_file, key_file) if path)
        raise Unavailable(f"{names}: no certificate can be read from there: {error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def accept_anybody() -> None:
    """The user has said ``verify_tls = false``; saying it again at each request helps nobody."""
    urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)


def explain(error: BaseException) -> str:
    """A failed connection in words."""
    chain = list(_causes(error))
    for cause in chain:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                f"the certificate of the sink is not trusted: {cause.verify_message}. "
                "If it is right, name its authority with ca_file"
            )
    # A library's own wrapper says less than the error of the system below it.
    inner = [cause for cause in chain if isinstance(cause, OSError) and cause.strerror]
    return clean(inner[-1].strerror if inner else error)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was made of, outermost first."""
    following: BaseException | None = error
    for _ in range(10):
        if following is None:
            return
        yield following
        reason = getattr(following, "reason", None)
        inner = reason if isinstance(reason, BaseException) else None
        following = inner or following.__cause__ or following.__context__

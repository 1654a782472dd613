"""JSON by HTTPS POST, signed with HMAC-SHA256 over time stamp and body.

The receiver recomputes ``hmac_sha256(secret, timestamp + "." + body)``, compares it in constant time with
``X-Gridwarden-Signature``, and refuses a time stamp that is minutes away from its own clock.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Sequence

import urllib3

from sensor import __version__
from sensor.sinks.base import Record, Unavailable
from sensor.sinks.http import accept_anybody, check_status, explain, tls_context
from sensor.sinks.records import as_json
from sensor.sinks.settings import WebhookSettings

MAX_ANSWER = 65_536
"""Bytes of an answer that are read."""


class WebhookSink:
    """Posts batches of records."""

    def __init__(self, settings: WebhookSettings) -> None:
        self._settings = settings
        self._pool: urllib3.PoolManager | None = None

    def send(self, records: Sequence[Record]) -> int:
        """Post the records; see :class:`sensor.sinks.base.Sink`."""
        body = f'{{"version":1,"records":[{",".join(map(as_json, records))}]}}'.encode("ascii")
        settings = self._settings
        headers = signed_headers(body, settings.secret.read(), int(time.time()))
        try:
            answer = self._open().request(
                "POST",
                settings.url,
                body=body,
                headers=headers,
                redirect=False,
                retries=False,
                preload_content=False,
            )
            try:
                text = answer.read(MAX_ANSWER, decode_content=False).decode("utf-8", "replace")
            finally:
                answer.close()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            self.close()
            raise Unavailable(f"{settings.url}: {explain(error)}") from error
        check_status(answer.status, text, answer.headers.get("Retry-After"))
        return 0

    def close(self) -> None:
        """Drop the connections."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.clear()

    def _open(self) -> urllib3.PoolManager:
        if self._pool is None:
            settings = self._settings
            context = None
            if not settings.verify_tls:
                accept_anybody()
            if settings.url.startswith("https://"):
                context = tls_context(settings.verify_tls, settings.ca_file)
            self._pool = urllib3.PoolManager(
                timeout=urllib3.Timeout(connect=settings.timeout, read=settings.timeout), ssl_context=context
            )
        return self._pool


def signed_headers(body: bytes, secret: str, timestamp: int) -> dict[str, str]:
    """Headers of a delivery.

    Parameters
    ----------
    body : bytes
    secret : str
        Shared with the receiver.
    timestamp : int
        Epoch seconds.
    """
    return {
        "Content-Type": "application/json",
        "User-Agent": f"gridwarden/{__version__}",
        "X-Gridwarden-Delivery": hashlib.sha256(body).hexdigest()[:32],
        "X-Gridwarden-Timestamp": str(timestamp),
        "X-Gridwarden-Signature": f"sha256={signature(body, secret, timestamp)}",
    }


def signature(body: bytes, secret: str, timestamp: int) -> str:
    """Hexadecimal HMAC-SHA256 of ``timestamp.body``."""
    return hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()

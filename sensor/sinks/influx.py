"""InfluxDB 2.x and 3.x by the v2 write API, and 1.8+ by its compatible one, through influxdb-client.

Lines are written as text in batches; retrying is the outbox's business, so the client's own is off.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.domain.write_precision import WritePrecision
from influxdb_client.rest import ApiException
from urllib3.exceptions import HTTPError

from sensor.sinks.base import Memory, Record, Unavailable
from sensor.sinks.http import accept_anybody, check_status, explain
from sensor.sinks.line_protocol import label_of, lines_of, moment_of
from sensor.sinks.settings import InfluxSettings


class InfluxSink:
    """Writes records as points.

    Parameters
    ----------
    settings : InfluxSettings
    memory : Memory
        Which labels may be tags, and which time is whose, so that a point that is sent again is the same.
    """

    def __init__(self, settings: InfluxSettings, memory: Memory) -> None:
        self._settings = settings
        self._memory = memory
        self._client: Any = None
        self._api: Any = None

    def send(self, records: Sequence[Record]) -> int:
        """Write the records' points; see :class:`sensor.sinks.base.Sink`."""
        labels = {label for label in map(label_of, records) if label}
        admitted = self._memory.admit(labels, self._settings.max_labels) if labels else set()
        moments = self._moments(records)
        lines: list[str] = []
        passed = 0
        for record in records:
            lines += lines_of(record, admitted, moments.get((record.kind, record.ident), 0))
            label = label_of(record)
            passed += record.kind in ("level", "sample") and bool(label) and label not in admitted
        if lines:
            self._write(lines)
        return passed

    def close(self) -> None:
        """Drop the connections."""
        client, self._client, self._api = self._client, None, None
        if client is not None:
            client.close()

    def _moments(self, records: Sequence[Record]) -> dict[tuple[str, str], int]:
        """Times of the points of alerts and incidents, by kind and id."""
        found: dict[tuple[str, str], int] = {}
        for kind, table in (("alert", "alerts"), ("incident", "incidents")):
            wanted = {record.ident: moment_of(record) for record in records if record.kind == kind}
            if wanted:
                given = self._memory.moments(table, wanted)
                found |= {(kind, ident): at for ident, at in given.items()}
        return found

    def _write(self, lines: list[str]) -> None:
        settings = self._settings
        try:
            self._open().write(
                settings.bucket, settings.org, "\n".join(lines), write_precision=WritePrecision.NS
            )
        except ApiException as error:
            if error.status:
                self._forget_on(int(error.status))
                check_status(int(error.status), _text(error.body), _header(error, "Retry-After"))
            self.close()
            raise Unavailable(f"{settings.url}: {explain(error)}") from error
        except (HTTPError, OSError) as error:
            self.close()
            raise Unavailable(f"{settings.url}: {explain(error)}") from error

    def _forget_on(self, status: int) -> None:
        """A refused token is read again from its file next time."""
        if status in (401, 403):
            self.close()

    def _open(self) -> Any:
        if self._api is None:
            settings = self._settings
            if not settings.verify_tls:
                accept_anybody()
            self._client = InfluxDBClient(
                url=settings.url,
                token=settings.token.read() if settings.token else None,
                org=settings.org,
                timeout=int(settings.timeout * 1_000),
                enable_gzip=settings.gzip,
                verify_ssl=settings.verify_tls,
                ssl_ca_cert=str(settings.ca_file) if settings.ca_file else None,
                retries=False,
            )
            self._api = self._client.write_api(write_options=SYNCHRONOUS)
        return self._api


def _text(body: object) -> str:
    return body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body or "")


def _header(error: ApiException, name: str) -> str | None:
    headers = error.headers or {}
    value = headers.get(name)
    return None if value is None else str(value)

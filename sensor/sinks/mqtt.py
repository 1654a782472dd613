"""MQTT 5 through paho-mqtt: one message per record, QoS 1, with an expiry.

A batch counts as sent when the broker has acknowledged every message. The broker keeps no session for us:
the outbox is the memory, and what was not acknowledged is published again.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Sequence
from typing import Any, Final

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from sensor.result import LEVELS
from sensor.sinks.base import Record, Refused, Unavailable, clean
from sensor.sinks.http import explain, tls_context
from sensor.sinks.records import as_json
from sensor.sinks.settings import MqttSettings

KEEPALIVE: Final = 60

OF_THE_RECORD: Final = (0x90, 0x95, 0x99)
"""Reason codes that speak of one message: topic name invalid, packet too large, payload format invalid."""


class MqttSink:
    """Publishes records below ``topic/site/sensor/kind/level``."""

    def __init__(self, settings: MqttSettings) -> None:
        self._settings = settings
        self._client: mqtt.Client | None = None
        self._answers: dict[int, ReasonCode] = {}
        self._changed = threading.Condition()
        self._connected: ReasonCode | None = None
        self._failure = ""

    def send(self, records: Sequence[Record]) -> int:
        """Publish the records; see :class:`sensor.sinks.base.Sink`."""
        client = self._open()
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.MessageExpiryInterval = int(self._settings.expiry)
        properties.ContentType = "application/json"
        pending = []
        for record in records:
            info = client.publish(self._topic(record), as_json(record), qos=1, properties=properties)
            if info.rc not in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_NO_CONN):
                self.close()
                raise Unavailable(f"{self._settings.host}: {mqtt.error_string(info.rc)}")
            pending.append(info.mid)
        self._judge(self._wait(pending))
        return 0

    def close(self) -> None:
        """Say goodbye and end the network thread."""
        client, self._client = self._client, None
        if client is not None:
            client.disconnect()
            client.loop_stop()
        self._answers.clear()
        self._connected = None

    def _topic(self, record: Record) -> str:
        data = record.data
        parts = [_level(data["site"] or "site"), _level(data["sensor"]), record.kind]
        if record.kind in ("alert", "incident"):
            parts.append(LEVELS[record.level])
        elif record.kind in ("level", "sample"):
            parts.append(_level(data["name"]))
        return "/".join([self._settings.topic, *parts])

    def _wait(self, pending: list[int]) -> list[ReasonCode]:
        """Answers to the messages; Unavailable when some do not come."""
        deadline = time.monotonic() + self._settings.timeout
        with self._changed:
            while not all(mid in self._answers for mid in pending):
                left = deadline - time.monotonic()
                if left <= 0 or self._failure:
                    break
                self._changed.wait(left)
            answers = [self._answers.pop(mid) for mid in pending if mid in self._answers]
            failure = self._failure
        if len(answers) < len(pending):
            self.close()
            late = f"{len(pending) - len(answers)} of {len(pending)} messages were not acknowledged in time"
            raise Unavailable(f"{self._settings.host}: {failure or late}")
        return answers

    def _judge(self, answers: list[ReasonCode]) -> None:
        failed = [code for code in answers if code.is_failure]
        if not failed:
            return
        words = f"{self._settings.host}: the broker answers {clean(failed[0])}"
        if failed[0].value in OF_THE_RECORD:
            raise Refused(words)
        raise Unavailable(f"{words}; check what this user may publish")

    def _open(self) -> mqtt.Client:
        if self._client is not None and self._client.is_connected():
            return self._client
        self.close()
        settings = self._settings
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id(),
            protocol=mqtt.MQTTv5,
            reconnect_on_failure=False,
        )
        client.connect_timeout = settings.timeout
        client.max_inflight_messages_set(100)
        if settings.username and settings.password:
            client.username_pw_set(settings.username, settings.password.read())
        if settings.tls:
            client.tls_set_context(
                tls_context(settings.verify_tls, settings.ca_file, settings.cert_file, settings.key_file)
            )
            client.tls_insecure_set(not settings.verify_tls)
        client.on_connect, client.on_publish = self._on_connect, self._on_publish
        client.on_disconnect = self._on_disconnect
        self._failure, self._connected = "", None
        self._client = client
        try:
            client.connect(settings.host, settings.port, keepalive=KEEPALIVE, clean_start=True)
        except (OSError, ssl.SSLError, ValueError) as error:
            self._client = None
            raise Unavailable(f"{settings.host} port {settings.port}: {explain(error)}") from error
        client.loop_start()
        self._await_connection()
        return client

    def _await_connection(self) -> None:
        deadline = time.monotonic() + self._settings.timeout
        with self._changed:
            while self._connected is None and not self._failure and time.monotonic() < deadline:
                self._changed.wait(deadline - time.monotonic())
            code, failure = self._connected, self._failure
        if code is None or code.is_failure:
            self.close()
            words = (
                f"refused: {clean(code)}; check user, password and certificate"
                if code is not None
                else failure
            )
            raise Unavailable(f"{self._settings.host}: {words or 'no answer to CONNECT in time'}")

    def _client_id(self) -> str:
        return f"gridwarden-{_level(self._settings.sensor)}-{self._settings.name}"[:64]

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, code: ReasonCode, _properties: Any) -> None:
        with self._changed:
            self._connected = code
            self._changed.notify_all()

    def _on_publish(self, client: Any, _data: Any, mid: int, code: ReasonCode, _properties: Any) -> None:
        with self._changed:
            if client is self._client:
                self._answers[mid] = code
            self._changed.notify_all()

    def _on_disconnect(
        self, client: Any, _data: Any, _flags: Any, code: ReasonCode, _properties: Any
    ) -> None:
        with self._changed:
            if client is self._client:
                self._failure = f"the connection was lost ({clean(code)})"
            self._changed.notify_all()


def _level(text: object) -> str:
    """One level of a topic: no separators, no wildcards, no control characters."""
    name = "".join(c if c.isprintable() and c not in "/+#" else "_" for c in str(text)[:100])
    return name.lstrip("$") or "_"

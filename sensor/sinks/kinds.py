"""From settings to a sink; a client library is loaded only when a sink needs it."""

from __future__ import annotations

from sensor.sinks.base import Forgetful, Memory, Sink
from sensor.sinks.settings import (
    InfluxSettings,
    JsonlSettings,
    MqttSettings,
    SinkSettings,
    SyslogSettings,
    WebhookSettings,
)


def make_sink(settings: SinkSettings, memory: Memory | None = None) -> Sink:
    """The sink of these settings, nothing opened yet; without ``memory`` for test records only."""
    match settings:
        case InfluxSettings():
            from sensor.sinks.influx import InfluxSink

            return InfluxSink(settings, memory or Forgetful())
        case SyslogSettings():
            from sensor.sinks.syslog import SyslogSink

            return SyslogSink(settings)
        case WebhookSettings():
            from sensor.sinks.webhook import WebhookSink

            return WebhookSink(settings)
        case MqttSettings():
            from sensor.sinks.mqtt import MqttSink

            return MqttSink(settings)
        case JsonlSettings():
            from sensor.sinks.jsonl import JsonlSink

            return JsonlSink(settings)


def address(settings: SinkSettings) -> str:
    """Where a sink sends to, for people."""
    match settings:
        case InfluxSettings():
            return f"{settings.url} bucket {settings.bucket}"
        case WebhookSettings():
            return settings.url.partition("?")[0]
        case SyslogSettings():
            return f"{settings.transport}://{settings.host}:{settings.port}"
        case MqttSettings():
            return f"{settings.host}:{settings.port} topic {settings.topic}"
        case JsonlSettings():
            return str(settings.path)


def kind_of(settings: SinkSettings) -> str:
    """The type as it stands in the configuration."""
    return type(settings).__name__.removesuffix("Settings").lower()

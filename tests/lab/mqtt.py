"""Builders for MQTT (they live in :mod:`sensor.simulate.build.mqtt`)."""

from sensor.simulate.build.mqtt import *  # noqa: F403

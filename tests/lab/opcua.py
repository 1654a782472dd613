"""Builders for OPC UA (they live in :mod:`sensor.simulate.build.opcua`)."""

from sensor.simulate.build.opcua import *  # noqa: F403

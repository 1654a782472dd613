"""Builders for the process bus (they live in :mod:`sensor.simulate.build.bus`)."""

from sensor.simulate.build.bus import *  # noqa: F403

"""Builders for DNP3 (they live in :mod:`sensor.simulate.build.dnp3`)."""

from sensor.simulate.build.dnp3 import *  # noqa: F403

"""Builders for MMS and S7comm (they live in :mod:`sensor.simulate.build.iso`)."""

from sensor.simulate.build.iso import *  # noqa: F403

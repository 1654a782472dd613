"""Capture, decode, observe, warn, store, forward; the daemon and the command line."""

__version__ = "0.1.0"

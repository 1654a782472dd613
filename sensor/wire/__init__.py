"""Packet formats: one format, one file; no connection state, no I/O."""

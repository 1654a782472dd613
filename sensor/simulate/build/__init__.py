"""Builders of whole frames, message by message: plain values in, bytes out.

Nothing is checked, so that a test can also build what a standard forbids. Lengths and checksums are right
unless a caller overrides them. Written from the standards, independently of the decoders in ``sensor.wire``;
the tests, the lab and the simulated attacks share them. No module here does any I/O.
"""

"""Simulated attacks: known attack patterns rendered into a benign capture, with labels.

``build`` makes frames from plain values, ``packets`` and ``scene`` find out what a capture offers, ``stage``
edits it (inject, change, delay, drop) and keeps TCP in order, ``attacks`` holds the patterns, one module per
protocol, and ``render`` puts them together. Files only: nothing here opens a socket.
"""

"""Frames in: files, interfaces, tshark."""

"""Durable local store."""

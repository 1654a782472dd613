"""Roles that a message itself tells, whoever opened the connection and on which port."""

from __future__ import annotations

from typing import Any

from sensor.jit import kernel
from sensor.track.state import ROLE_CLIENT, ROLE_SERVER


@kernel
def as_client(context: Any) -> None:
    """The sender asks or commands."""
    context.role = ROLE_CLIENT
    context.client, context.server, context.port = context.src, context.dst, context.dport


@kernel
def as_server(context: Any) -> None:
    """The sender answers or reports."""
    context.role = ROLE_SERVER
    context.client, context.server, context.port = context.dst, context.src, context.sport

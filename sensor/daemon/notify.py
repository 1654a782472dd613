"""What systemd is told: sd_notify(3) in a few lines, without a library.

A datagram to the socket that ``$NOTIFY_SOCKET`` names, which belongs to the service manager of this machine;
without the variable nothing happens. It is no network socket: the address family is AF_UNIX.
"""

from __future__ import annotations

import os
import socket
import time
from typing import Final

WATCHDOG_SHARE: Final = 3.0
"""The watchdog is told this many times within its limit."""


class Notifier:
    """Tells the service manager how things stand; never raises."""

    def __init__(self) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        self._status = ""
        self._fed = 0.0
        limit = os.environ.get("WATCHDOG_USEC", "")
        owner = os.environ.get("WATCHDOG_PID", "")
        mine = not owner or owner == str(os.getpid())
        self.watchdog_s = int(limit) / 1e6 if limit.isdigit() and mine else 0.0

    def tell(self, **fields: str | int) -> bool:
        """Send fields such as READY=1; whether they were sent."""
        if not self._address:
            return False
        text = "\n".join(f"{name}={str(value).replace(chr(10), ' ')}" for name, value in fields.items())
        name = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.sendto(text.encode(), name)
        except OSError:
            return False
        return True

    def reloading(self) -> None:
        """The configuration is being read again (Type=notify-reload wants the time)."""
        self.tell(RELOADING=1, MONOTONIC_USEC=time.monotonic_ns() // 1000)

    def status(self, text: str) -> None:
        """One line for ``systemctl status``, sent when it changed."""
        if text != self._status:
            self._status = text
            self.tell(STATUS=text)

    def alive(self) -> None:
        """Feed the watchdog when it is due."""
        now = time.monotonic()
        if self.watchdog_s and now - self._fed >= self.watchdog_s / WATCHDOG_SHARE:
            self._fed = now
            self.tell(WATCHDOG=1)

"""A cable between two network namespaces: what is sent into one end is captured at the other.

Everything carries a prefix of its own; nothing of the machine's own network is touched.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

PREFIX = f"gwlive{os.getpid()}-"
SENSOR, STATION = PREFIX + "sensor", PREFIX + "station"
ROOT = Path(__file__).resolve().parents[2]
_LIBC = ctypes.CDLL(None, use_errno=True)
_NET_NAMESPACE = 0x40000000


def missing() -> str:
    """Why live capture cannot be tested here; "" when it can."""
    if os.geteuid() != 0:
        return "live capture needs root: it makes network namespaces"
    for tool, package in (("ip", "iproute2"), ("sysctl", "procps")):
        if not shutil.which(tool):
            return f"live capture needs {package}: sudo apt-get install {package}"
    probe = PREFIX + "probe"
    made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, check=False).returncode == 0
    subprocess.run(["ip", "netns", "del", probe], capture_output=True, check=False)
    return "" if made else "this machine lets nobody make network namespaces"


def run(*command: str) -> str:
    """Run a command that must work."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


def within(namespace: str, *command: str) -> list[str]:
    """A command line that runs in a namespace."""
    return ["ip", "netns", "exec", namespace, *command]


@contextmanager
def entered(namespace: str) -> Iterator[None]:
    """This thread's network is the namespace's."""
    there_path = Path("/run/netns") / namespace
    with Path("/proc/self/ns/net").open() as home, there_path.open() as there:
        _enter(there.fileno())
        try:
            yield
        finally:
            _enter(home.fileno())


def _enter(descriptor: int) -> None:
    if _LIBC.setns(descriptor, _NET_NAMESPACE):
        raise OSError(ctypes.get_errno(), "setns")


class Cable:
    """``gwtap`` in the sensor's namespace, ``gwsrc`` in the station's; up, and quiet by itself."""

    tap, source = "gwtap", "gwsrc"

    def __enter__(self) -> Cable:
        try:
            for namespace in (SENSOR, STATION):
                run("ip", "netns", "add", namespace)
                for scope in ("all", "default"):
                    setting = f"net.ipv6.conf.{scope}.disable_ipv6=1"
                    run(*within(namespace, "sysctl", "-qw", setting))
                run(*within(namespace, "ip", "link", "set", "lo", "up"))
            self.plug()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def remove(self) -> None:
        """Take all of it away."""
        for namespace in (SENSOR, STATION):
            subprocess.run(["ip", "netns", "del", namespace], capture_output=True, check=False)

    def plug(self) -> None:
        """Make the cable, both ends up."""
        run("ip", "link", "add", self.tap, "netns", SENSOR, "type", "veth", "peer", "name", self.source,
            "netns", STATION)  # fmt: skip
        self.set(SENSOR, self.tap, "up")
        self.set(STATION, self.source, "up")

    def unplug(self) -> None:
        """Remove the cable with both interfaces."""
        run(*within(SENSOR, "ip", "link", "del", self.tap))

    @staticmethod
    def set(namespace: str, interface: str, state: str) -> None:
        run(*within(namespace, "ip", "link", "set", interface, state))

    def sender(self) -> socket.socket:
        """A socket that sends frames as they are, from the station's end."""
        with entered(STATION):
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            sock.bind((self.source, 0))
        return sock

    @staticmethod
    def sent_frames(namespace: str, interface: str) -> int:
        """How many frames ever left through an interface."""
        counter = f"/sys/class/net/{interface}/statistics/tx_packets"
        # sysfs shows the namespace in which it was mounted, and `ip netns exec` mounts it anew
        return int(run(*within(namespace, "cat", counter)))


def gridwarden(namespace: str, *arguments: str) -> list[str]:
    """The command line in a namespace."""
    return within(namespace, sys.executable, "-m", "sensor", *arguments)


def send_all(sock: socket.socket, frames: Sequence[bytes]) -> None:
    """Send frames one after another, as fast as it goes."""
    for frame in frames:
        sock.send(frame)

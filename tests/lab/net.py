"""Network namespaces joined by a bridge that floods, with a mirror port to record on.

Everything carries the prefix :data:`PREFIX`; :meth:`LabNet.down` removes what carries it
and nothing else, so that a lab that was killed is cleaned up by the next one.
"""

from __future__ import annotations

import subprocess
from types import TracebackType

from tests.lab.station import MACS, MASK, NODES

PREFIX = "gwlab-"
SWITCH, MIRROR = PREFIX + "switch", PREFIX + "mirror"


def run(*command: str, check: bool = True) -> str:
    """Run one command; its output, or what went wrong."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def inside(namespace: str, *command: str) -> list[str]:
    """Command line that runs in a namespace."""
    return ["ip", "netns", "exec", namespace, *command]


def _quiet(namespace: str) -> None:
    """No IPv6 chatter, no TCP timestamps (they would tell the recording's true speed)."""
    for setting in ("net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1",
                    "net.ipv4.tcp_timestamps=0"):  # fmt: skip
        run(*inside(namespace, "sysctl", "-qw", setting))


class LabNet:
    """Context manager: the network is up inside, and gone after it whatever happens."""

    def __enter__(self) -> LabNet:
        self.down()
        try:
            self._up()
        except BaseException:
            self.down()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    def down(self) -> None:
        """Remove every namespace of the lab; their links go with them."""
        for line in run("ip", "netns", "list").splitlines():
            name = line.split()[0] if line.split() else ""
            if name.startswith(PREFIX):
                run("ip", "netns", "del", name, check=False)

    def _up(self) -> None:
        run("ip", "netns", "add", SWITCH)
        _quiet(SWITCH)
        # ageing 0: the bridge never learns, every port (so the mirror too) sees every frame once
        run(*inside(SWITCH, "ip", "link", "add", "br0", "type", "bridge", "ageing_time", "0"))
        run(*inside(SWITCH, "ip", "link", "set", "br0", "mtu", "1500", "up"))
        self._port(MIRROR, "mirror", None, None)
        for node, address in NODES.items():
            self._port(PREFIX + node, node, MACS[node], address)

    def _port(self, namespace: str, port: str, mac: str | None, address: str | None) -> None:
        run("ip", "netns", "add", namespace)
        _quiet(namespace)
        run(
            *inside(
                SWITCH, "ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", namespace
            )
        )
        if mac:
            run(*inside(namespace, "ip", "link", "set", "eth0", "address", mac))
        if address:
            run(*inside(namespace, "ip", "address", "add", f"{address}/{MASK}", "dev", "eth0"))
        run(*inside(namespace, "ip", "link", "set", "eth0", "up"))
        run(*inside(namespace, "ip", "link", "set", "lo", "up"))
        run(*inside(SWITCH, "ip", "link", "set", port, "master", "br0", "up"))

    def plug(self, node: str, connected: bool) -> None:
        """Pull or plug the cable of a node, at the switch."""
        run(*inside(SWITCH, "ip", "link", "set", node, "up" if connected else "down"))

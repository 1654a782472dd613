"""The commented example that ``gridwarden config init`` writes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

_NET: Final = Path("/sys/class/net")
_ETHERNET: Final = "1"

TEXT: Final = """\
# Gridwarden, one site. Check it with: gridwarden config check FILE
# After a change: systemctl reload gridwarden (or kill -HUP): not a frame is lost, a file with a mistake is
# refused and the old one goes on. Relative paths begin at this file's folder.

[site]
name = "my-station"              # goes with everything that leaves the sensor
baseline = "station.baseline"    # from: gridwarden learn --interface IFACE --duration 8h -o station.baseline
# sensor = "sensor-1"            # this machine; its host name when left out
# profiles = ["profiles"]        # folders with protocol profiles of your own

# Every interface of this site, all seen as one traffic (a TAP gives each direction on a port of its own).
{sources}
# Rehearsal instead of interfaces: captures, played back.
# [[source]]
# captures = ["monday.pcapng", "tuesday/"]
# [replay]
# speed = 1.0                    # as they were taken; 10 is ten times faster, "max" as fast as it goes

[store]
path = {store}
keep_days = 90                   # what is older goes
max_mib = 2048                   # what exceeds it goes: samples first, alarms last
# waiting_alerts = 10000         # alerts held in memory while the disk is full
# waiting_rows = 100000          # samples, likewise

[detect]
# slice_ms = 250                 # alerts come at most this much later; 2000 for captures
# alerts_per_day = 20000         # what comes beyond is counted
# tshark = true                  # reads what no native decoder does, beside the analysis, within a budget

[warning]
# max_conversations = 2000       # that have a level of their own; the rest is counted
# max_assets = 1000
# calm_windows = 6               # windows of 10 s without cause before a level falls by one step
# silent_after_s = 60            # an asset or conversation not heard for longer is marked silent
# margins = true                 # time left to the protocols' own limits, as series

[evidence]
# enabled = true                 # for each alert the frames around it, kept on this machine
# folder = "gridwarden.evidence" # beside the store when left out
# min_level = "warning"          # alerts of this level and above
# before_s = 10                  # seconds of traffic before and after
# after_s = 5
# ring_mib = 64                  # memory for the latest frames
# max_mib = 512                  # what exceeds it goes, oldest first
# keep_days = 90
# sign_key_file = "evidence.key" # openssl genpkey -algorithm ed25519 -out evidence.key

# [pseudonyms]                   # for sinks with pseudonymise = true, and evidence export --pseudonymise
# key_file = "pseudonym.key"     # openssl rand -hex 32 > pseudonym.key; chmod 600 pseudonym.key
# names = ["TR1PROT"]            # stations and devices by name

[health]
# interval_s = 10                # heartbeat
# behind_s = 5                   # further behind the wire, the sensor says so

# [[sink]]                       # where alerts, levels and health are sent as well
"""


def interfaces() -> list[str]:
    """Ethernet interfaces of this machine; those with a default route come last."""
    try:
        names = sorted(os.listdir(_NET))  # noqa: PTH208  names only
    except OSError:
        return []
    found = [name for name in names if name != "lo" and _read(_NET / name / "type") == _ETHERNET]
    own = _default_route()
    return sorted(found, key=lambda name: (name in own, name))


def example(store: str = "gridwarden.db") -> str:
    """The example with this machine's interfaces; all but the first are comments.

    Parameters
    ----------
    store : str
        Path of the store, as the file will name it.
    """
    names = interfaces()
    own = _default_route()
    lines: list[str] = []
    for index, name in enumerate(names or ["eth1"]):
        mark = "# " if index else ""
        note = "  # this machine's own network: is it the mirror port?" if name in own else ""
        lines += [f"{mark}[[source]]", f'{mark}interface = "{name}"{note}']
        lines += ['# filter = "not port 22"       # tcpdump\'s language'] if not index else []
        lines += ["# ring_mib = 64                # memory that bridges bursts"] if not index else []
        lines.append("")
    path = json.dumps(store, ensure_ascii=False)  # JSON's strings are TOML's
    return TEXT.replace("{sources}", "\n".join(lines)).replace("{store}", path)


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii").strip()
    except (OSError, ValueError):
        return ""


def _default_route() -> set[str]:
    """Interfaces with a default route: seldom a mirror port."""
    rows = [line.split() for line in _read(Path("/proc/net/route")).splitlines()[1:]]
    return {row[0] for row in rows if len(row) > 1 and row[1] == "00000000"}

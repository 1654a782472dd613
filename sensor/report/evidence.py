"""Evidence bundles for people: what ``gridwarden evidence`` prints.

Words of alerts hold names from packets: nothing in them acts on a terminal, and nothing is markup.
"""

from __future__ import annotations

import shlex
import time
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sensor.bundle.layout import Bundle
from sensor.bundle.verify import Verdict


def print_verdict(out: Console, verdict: Verdict) -> None:
    """What was found about one bundle."""
    state = Text("ok     ", "green") if verdict.ok else Text("broken ", "red")
    facts = [f"signature {verdict.signature}" + (f" ({verdict.signer})" if verdict.signer else "")]
    facts += [f"chain {verdict.chain}"] if verdict.chain else []
    facts += [f"baseline {verdict.baseline}"]
    out.print(Text.assemble(state, verdict.name, "  ", (", ".join(facts), "dim")), soft_wrap=True)
    for problem in verdict.problems:
        out.print(f"       {visible(problem)}", markup=False, highlight=False, soft_wrap=True)
    for ident, how in verdict.replay.items():
        why = "; its verdict needed more history than the slice holds" if how == "not reproduced" else ""
        out.print(f"       alert {visible(ident)}: {how}{why}", markup=False, highlight=False)


def facts_of(bundle: Bundle) -> dict[str, Any]:
    """What the list says of a bundle, as JSON."""
    manifest, cut = bundle.manifest, bundle.manifest.get("slice", {})
    members = manifest.get("members", {}).values()
    return {
        "name": bundle.name,
        "alerts": bundle.alerts,
        "frames": cut.get("frames"),
        "complete": cut.get("complete"),
        "bytes": sum(int(one["bytes"]) for one in members),
        "signed": "signer" in manifest,
        "path": str(bundle.path),
    }


def list_table(out: Console, bundles: list[Bundle]) -> None:
    """One line for each bundle."""
    table = Table(box=None, pad_edge=False)
    for heading in ("bundle", "level", "alerts", "frames", "KiB", "what"):
        right = heading in ("alerts", "frames", "KiB")
        table.add_column(heading, justify="right" if right else "left", no_wrap=heading == "bundle")
    for bundle in bundles:
        facts = facts_of(bundle)
        first = bundle.alerts[0] if bundle.alerts else {}
        frames = f"{facts['frames']:,}" + ("" if facts["complete"] else " (incomplete)")
        row = (bundle.name, first.get("level", ""), str(len(bundle.alerts)), frames)
        words = visible(str(first.get("summary", "")))
        table.add_row(*map(Text, (*row, f"{facts['bytes'] / 1024:,.0f}", words)))
    out.print(table)


def shown_rows(bundle: Bundle) -> list[tuple[str, str]]:
    """A bundle as lines with a name before them."""
    manifest, cut = bundle.manifest, bundle.manifest.get("slice", {})
    rows = [
        ("bundle", str(bundle.path)),
        ("site", f"{manifest.get('site')}, sensor {manifest.get('sensor')}"),
    ]
    for alert in bundle.alerts:
        rows.append(
            ("alert", f"{alert['id']} {alert['level']:<8}{visible(alert['summary'])} [{alert['rule']}]")
        )
        model = alert.get("judge", {}).get("model")
        rows += [("", f"model {model}")] if model else []
    whole = "complete" if cut.get("complete") else f"incomplete: {'; '.join(cut.get('incomplete', []))}"
    lost = f", {cut['lost']:,} frames lost by the capture" if cut.get("lost") else ""
    rows.append(("slice", f"{cut.get('frames'):,} frames, {_when(cut)}; {whole}{lost}"))
    rows.append(("judged by", f"gridwarden {manifest.get('gridwarden')}, engine {manifest.get('engine')}"))
    baseline = manifest.get("baseline", {})
    kept = "" if baseline.get("kept") else " (not kept)"
    rows.append(("baseline", f"{baseline.get('name')}, SHA-256 {baseline.get('sha256')}{kept}"))
    rows.append(("dissected", visible(str(manifest.get("dissection")))))
    signer = manifest.get("signer")
    rows.append(("signed", f"Ed25519, key {signer.get('fingerprint')}" if signer else "no"))
    if manifest.get("command"):
        rows.append(("again", f"cd {shlex.quote(str(bundle.path))} && {shlex.join(manifest['command'])}"))
    return rows


def _when(cut: dict[str, Any]) -> str:
    first, last = float(cut.get("first", 0)), float(cut.get("last", 0))
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(first))
    return f"{stamp} UTC, {last - first:.1f} s"


def visible(text: str) -> str:
    """Text that may come from packets: nothing in it acts on a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text)

"""Is a bundle what it was when it was written: members, signature, its place in the chain, its verdict."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from sensor.bundle.layout import MANIFEST, SIGNATURE, SLICE, Bundle, file_digest
from sensor.bundle.sign import fingerprint, good
from sensor.errors import InputError

MAX_SIGNATURE: Final = 4_096


@dataclass(slots=True)
class Verdict:
    """What was found about one bundle.

    Attributes
    ----------
    name : str
    members : dict of str to str
        ``ok``, ``changed``, ``missing`` or ``foreign`` for each file.
    signature : str
        ``good``, ``bad``, ``absent``; ``other key`` when it is good, but not by the key that was given.
    signer : str
        Fingerprint of the key that signed.
    chain : str
        ``first``, ``ok``, ``given up`` (what came before is no longer kept), ``broken``; "" not looked at.
    baseline : str
        ``ok``, ``changed``, ``not kept``.
    replay : dict of str to str
        By alert: ``same``, ``similar``, ``not reproduced``; empty when not tried.
    problems : list of str
        In words; empty when nothing is wrong.
    """

    name: str
    members: dict[str, str] = field(default_factory=dict)
    signature: str = "absent"
    signer: str = ""
    chain: str = ""
    baseline: str = ""
    replay: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Nothing is wrong."""
        return not self.problems


def verify(bundle: Bundle, key: str = "", want_signature: bool = False) -> Verdict:
    """Look at one bundle.

    Parameters
    ----------
    bundle : Bundle
    key : str
        Public key that must have signed, as of :func:`sensor.bundle.sign.load_public`; "" for any.
    want_signature : bool
        No signature is a problem too.
    """
    verdict = Verdict(bundle.name)
    listed = bundle.manifest.get("members")
    for name, facts in sorted(listed.items()) if isinstance(listed, dict) else []:
        state = _member(bundle.path, str(name), facts)
        verdict.members[str(name)] = state
        if state != "ok":
            verdict.problems.append(f"{name} is {state}")
    if not verdict.members:
        verdict.problems.append(f"{MANIFEST} names no members")
    for foreign in sorted(set(os.listdir(bundle.path)) - set(verdict.members) - {MANIFEST, SIGNATURE}):  # noqa: PTH208
        verdict.members[foreign] = "foreign"
        verdict.problems.append(f"{foreign} does not belong to the bundle")
    if bundle.manifest.get("name") != bundle.name:
        verdict.problems.append(f"its manifest is that of {str(bundle.manifest.get('name'))[:60]!r}")
    _signature(bundle, verdict, key, want_signature)
    _baseline(bundle, verdict)
    return verdict


def check_chain(every: Sequence[Bundle], verdicts: dict[str, Verdict], last: dict[str, str]) -> None:
    """Does each bundle name the one before it, up to the newest that the folder knows?

    The oldest are given up first, so that only the beginning of the chain may be missing.

    Parameters
    ----------
    every : sequence of Bundle
        All of a folder, in the order of their numbers.
    verdicts : dict
        By name; those that are there are completed.
    last : dict
        The newest bundle as ``state.json`` knows it; empty when it is not known.
    """
    by_name = {bundle.name: bundle for bundle in every}
    for place, bundle in enumerate(every):
        before = bundle.manifest.get("previous") or {}
        verdict = verdicts.get(bundle.name)
        if verdict is None:
            continue
        known = by_name.get(str(before.get("name", "")))
        if not before:
            verdict.chain = "first" if place == 0 else "broken"
        elif known is not None:
            verdict.chain = "ok" if known.digest == before.get("sha256") else "broken"
        else:
            verdict.chain = "given up" if place == 0 else "broken"
        if verdict.chain == "broken":
            name = str(before.get("name", "no bundle"))[:60]
            what = "is missing" if known is None else "has another manifest now"
            verdict.problems.append(f"the chain is broken: {name}, which came before it, {what}")
    if every and last.get("name") and last["name"] not in by_name and every[-1].name in verdicts:
        verdicts[every[-1].name].problems.append(f"the newest bundle, {last['name']}, is missing")


def replay(bundle: Bundle) -> dict[str, str]:
    """Judge the slice again with the baseline that was kept.

    Returns
    -------
    dict
        By alert id: ``same`` (the same alert, id and all), ``similar`` (same rule and time),
        ``not reproduced`` (the verdict needed more history than the slice holds).

    Raises
    ------
    InputError
        The baseline was not kept, or the slice cannot be read.
    """
    from detectors.baseline import Baseline
    from sensor.engines import open_engine
    from sensor.pipeline import detect

    path = baseline_of(bundle)
    if path is None:
        raise InputError(f"{bundle.name}: its baseline is not kept here")
    command = [str(part) for part in bundle.manifest.get("command", [])]
    profiles = [Path(after) for word, after in pairwise(command) if word == "--profiles"]
    decoded = open_engine([bundle.path / SLICE], str(bundle.manifest.get("engine") or "auto"), profiles)
    found = detect(decoded, decoded.names, Baseline.load(path)).alerts
    ids = {alert.id for alert in found}
    kinds = {(alert.rule, round(alert.start)) for alert in found}
    result: dict[str, str] = {}
    for alert in bundle.alerts:
        ident = str(alert["id"])
        near = {(str(alert["rule"]), round(float(alert["start"])) + step) for step in (-1, 0, 1)}
        result[ident] = "same" if ident in ids else "similar" if near & kinds else "not reproduced"
    return result


def baseline_of(bundle: Bundle) -> Path | None:
    """The copy of the baseline that judged; None when it is not kept."""
    digest = str(bundle.manifest.get("baseline", {}).get("sha256", ""))
    path = bundle.path.parent / "baselines" / f"{digest}.baseline"
    return path if digest.isalnum() and path.is_file() else None


def _member(folder: Path, name: str, facts: Any) -> str:
    path = folder / name
    if "/" in name or name.startswith(".") or not isinstance(facts, dict):
        return "foreign"
    if path.is_symlink() or not path.is_file():
        return "missing"
    size, digest = file_digest(path)
    return "ok" if (size, digest) == (facts.get("bytes"), facts.get("sha256")) else "changed"


def _signature(bundle: Bundle, verdict: Verdict, key: str, wanted: bool) -> None:
    signer = bundle.manifest.get("signer")
    path = bundle.path / SIGNATURE
    if not path.is_file():
        if signer or wanted or key:
            why = "is gone, though the manifest names a signer" if signer else "is absent"
            verdict.problems.append(f"the signature {why}")
        return
    with path.open("rb") as file:
        signature = file.read(MAX_SIGNATURE)
    public = str(signer.get("public_key", "")) if isinstance(signer, dict) else ""
    if key and good(key, bundle.raw, signature):
        verdict.signature, verdict.signer = "good", fingerprint(key)
    elif public and good(public, bundle.raw, signature):
        verdict.signature = "other key" if key else "good"
        verdict.signer = fingerprint(public)
    else:
        verdict.signature = "bad"
    if verdict.signature != "good":
        verdict.problems.append(
            f"the signature is {verdict.signature}"
            if verdict.signature == "bad"
            else "the signature is good, but not by the key that was given"
        )


def _baseline(bundle: Bundle, verdict: Verdict) -> None:
    path = baseline_of(bundle)
    if path is None:
        verdict.baseline = "not kept"
        if bundle.manifest.get("baseline", {}).get("kept"):
            verdict.problems.append("the baseline that judged is missing")
        return
    same = file_digest(path)[1] == bundle.manifest["baseline"]["sha256"]
    verdict.baseline = "ok" if same else "changed"
    if not same:
        verdict.problems.append("the baseline that judged has changed")

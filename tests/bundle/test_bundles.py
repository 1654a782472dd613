"""Bundles on disk: whole or not there, bounded, and every change to them is seen."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sensor.bundle import layout
from sensor.bundle.export import export, unpacked
from sensor.bundle.find import bundles, chosen
from sensor.bundle.keep import Bounds, Folder, read_state
from sensor.bundle.layout import Bundle
from sensor.bundle.sign import Signer, good, load_public
from sensor.bundle.verify import Verdict, check_chain, verify
from sensor.cli.common import out
from sensor.errors import InputError, UsageError
from sensor.report.evidence import facts_of, list_table, print_verdict, shown_rows
from sensor.sinks.base import Unavailable
from sensor.sinks.secret import Secret
from tests.bundle.samples import key_file, small_disk

Make = Callable[..., Bundle]
MANY = Bounds(1 << 40, 1_000_000, 1e12)


def checked(folder: Folder, key: str = "") -> dict[str, Verdict]:
    """Verdicts on everything that is there."""
    every, problems = bundles(folder.path)
    assert problems == []
    verdicts = {bundle.name: verify(bundle, key) for bundle in every}
    check_chain(every, verdicts, read_state(folder.path)["last"])
    return verdicts


def test_a_bundle_says_what_it_is(make: Make, baseline: Path) -> None:
    bundle = make()
    manifest = bundle.manifest
    assert layout.NAME.fullmatch(bundle.name)
    assert {path.name for path in bundle.path.iterdir()} == {*layout.MEMBERS, layout.MANIFEST}
    assert manifest["alerts"][0]["id"] in bundle.name
    assert manifest["baseline"]["name"] == baseline.name
    assert manifest["baseline"]["sha256"] == layout.file_digest(baseline)[1]
    kept = bundle.path.parent / "baselines" / f"{manifest['baseline']['sha256']}.baseline"
    assert kept.read_bytes() == baseline.read_bytes()
    assert manifest["alerts"][0]["frames_in_slice"]
    assert manifest["command"][:3] == ["gridwarden", "detect", "slice.pcapng"]
    assert (bundle.path / layout.DISSECTION).read_text() == "not dissected: not asked for\n"
    for path in bundle.path.iterdir():
        assert path.stat().st_mode & 0o007 == 0


@pytest.mark.parametrize("member", [*layout.MEMBERS, layout.MANIFEST])
def test_a_changed_member_is_named(make: Make, folder: Folder, member: str, signer: Signer) -> None:
    bundle = make(signer=signer)
    assert all(verdict.ok for verdict in checked(folder).values())
    path = bundle.path / member
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    if member == layout.MANIFEST:
        try:
            found = verify(layout.load(bundle.path))
        except InputError:
            return  # no JSON any more
        assert found.signature == "bad"
        return
    verdict = checked(folder)[bundle.name]
    assert verdict.members[member] == "changed"
    assert verdict.problems == [f"{member} is changed"]
    assert [m for m, state in verdict.members.items() if state != "ok"] == [member]


@pytest.mark.parametrize("member", layout.MEMBERS)
def test_a_missing_and_a_foreign_member_are_named(make: Make, folder: Folder, member: str) -> None:
    bundle = make()
    (bundle.path / member).unlink()
    (bundle.path / "more.txt").write_text("x")
    verdict = checked(folder)[bundle.name]
    assert verdict.members[member] == "missing"
    assert verdict.members["more.txt"] == "foreign"


def test_a_member_that_is_a_link_is_not_followed(make: Make, folder: Folder, tmp_path: Path) -> None:
    bundle = make()
    path = bundle.path / layout.SLICE
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert checked(folder)[bundle.name].members[layout.SLICE] == "missing"


def test_a_manifest_cannot_lead_out_of_its_folder(make: Make, tmp_path: Path) -> None:
    bundle = make()
    (tmp_path / "secret").write_text("x")
    bundle.manifest["members"]["../../secret"] = {"bytes": 1, "sha256": "00"}
    assert verify(bundle).members["../../secret"] == "foreign"


# --- signatures -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("openssh", [False, True])
def test_signatures_good_bad_absent_and_by_another(
    make: Make, folder: Folder, tmp_path: Path, openssh: bool
) -> None:
    path = key_file(tmp_path / "k.key", openssh)
    signed = make(0, signer=Signer(Secret(file=path)))
    plain = make(5)
    key = load_public(path.with_suffix(".pub"))
    assert load_public(path) == key
    stranger = load_public(key_file(tmp_path / "other.key").with_suffix(".pub"))
    assert verify(signed).signature == "good"
    assert verify(signed, key).ok
    assert verify(signed, stranger).signature == "other key"
    assert not verify(signed, stranger).ok
    assert verify(plain).ok
    assert verify(plain).signature == "absent"
    assert not verify(plain, want_signature=True).ok
    assert not verify(plain, key).ok
    (signed.path / layout.SIGNATURE).write_bytes(b"AAAA\n")
    assert verify(signed, key).signature == "bad"
    (signed.path / layout.SIGNATURE).unlink()
    assert "is gone" in verify(signed).problems[0]


def test_openssl_agrees(make: Make, signer: Signer, tmp_path: Path) -> None:
    """Verified without us: the signature is plain Ed25519 over manifest.json."""
    import base64

    bundle = make(signer=signer)
    raw = tmp_path / "sig"
    raw.write_bytes(base64.b64decode((bundle.path / layout.SIGNATURE).read_bytes()))
    call = ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", str(tmp_path / "sign.pub")]
    call += ["-sigfile", str(raw), "-in", str(bundle.path / layout.MANIFEST)]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert "Verified Successfully" in done.stdout, done
    (bundle.path / layout.MANIFEST).write_bytes(bundle.raw + b" ")
    assert subprocess.run(call, capture_output=True, check=False).returncode != 0


def test_a_signature_is_of_this_content_only(signer: Signer) -> None:
    signature = signer.sign(b"one")
    assert good(signer.public, b"one", signature)
    assert not good(signer.public, b"two", signature)
    assert not good("%%%", b"one", signature)
    assert not good(signer.public, b"one", b"\xff\xfe")


def test_a_key_that_is_none_is_refused_with_a_remedy(tmp_path: Path) -> None:
    path = tmp_path / "k.key"
    path.write_text("not a key\n")
    path.chmod(0o600)
    with pytest.raises(InputError, match=r"openssl genpkey -algorithm ed25519"):
        Signer(Secret(file=path))
    subprocess.run(["openssl", "genpkey", "-algorithm", "X25519", "-out", str(path)], check=True)
    with pytest.raises(InputError, match="not an Ed25519"):
        Signer(Secret(file=path))
    path.chmod(0o644)
    with pytest.raises(Unavailable, match="every user"):
        Signer(Secret(file=path))


# --- the chain --------------------------------------------------------------------------------------------


def test_a_bundle_taken_from_between_breaks_the_chain(make: Make, folder: Folder) -> None:
    made = [make(number) for number in (0, 4, 8, 12)]
    assert [verdict.chain for verdict in checked(folder).values()] == ["first", "ok", "ok", "ok"]
    shutil.rmtree(made[1].path)
    found = checked(folder)
    assert found[made[2].name].chain == "broken"
    assert made[1].name in found[made[2].name].problems[0]
    assert found[made[3].name].ok


def test_the_newest_bundle_cannot_go_unseen(make: Make, folder: Folder) -> None:
    made = [make(number) for number in (0, 4, 8)]
    shutil.rmtree(made[2].path)
    assert checked(folder)[made[1].name].problems == [f"the newest bundle, {made[2].name}, is missing"]


def test_a_bundle_written_anew_breaks_the_chain(make: Make, folder: Folder) -> None:
    made = [make(number) for number in (0, 4)]
    manifest = json.loads(made[0].raw)
    manifest["site"] = "elsewhere"
    (made[0].path / layout.MANIFEST).write_bytes(layout.dumped(manifest))
    found = checked(folder)
    assert found[made[0].name].ok  # without a signature it cannot know
    assert found[made[1].name].chain == "broken"


# --- bounds -----------------------------------------------------------------------------------------------


def test_the_oldest_are_given_up_and_counted(make: Make, folder: Folder) -> None:
    made = [make(number, now=1_000.0 + number) for number in range(0, 12, 2)]
    size = folder.sizes[made[-1].name]
    assert folder.hold(MANY, 2_000.0) == []
    assert folder.hold(Bounds(1 << 40, 4, 1e12), 2_000.0) == [made[0].name, made[1].name]
    assert folder.hold(Bounds(1 << 40, 100, 10.0), 1_014.5) == [made[2].name]
    gone = folder.hold(Bounds(folder.held - size // 2, 100, 1e12), 2_000.0)
    assert gone[0] == made[3].name
    assert folder.given_up == {"count": 2, "age": 1, "bytes": len(gone)}
    assert read_state(folder.path)["given_up"] == dict(folder.given_up)
    left = checked(folder)
    assert [verdict.ok for verdict in left.values()] == [True] * len(left)
    assert next(iter(left.values())).chain == "given up"


def test_a_baseline_goes_with_the_last_bundle_that_names_it(make: Make, folder: Folder) -> None:
    make(0, now=1_000.0)
    make(4, now=2_000.0)
    kept = folder.path / "baselines"
    folder.hold(Bounds(1 << 40, 1, 1e12), 2_000.0)
    assert len(list(kept.iterdir())) == 1
    folder.hold(Bounds(1 << 40, 10, 10.0), 9_000.0)
    assert list(kept.iterdir()) == []


def test_what_a_killed_process_left_is_removed_and_the_rest_known_again(make: Make, folder: Folder) -> None:
    bundle = make()
    (folder.path / f"{layout.PARTIAL}x").mkdir()
    (folder.path / f"{layout.PARTIAL}x" / "slice.pcapng").write_bytes(b"half")
    (folder.path / f"{layout.PARTIAL}state.json").write_bytes(b"{")
    again = Folder(folder.path)
    again.open()
    assert sorted(path.name for path in folder.path.iterdir()) == sorted(
        ["baselines", "state.json", bundle.name]
    )
    assert again.sizes == folder.sizes
    assert again.last == folder.last


def test_a_damaged_state_file_costs_the_counts_only(make: Make, folder: Folder) -> None:
    bundle = make()
    (folder.path / layout.STATE).write_bytes(os.urandom(500))
    again = Folder(folder.path)
    again.open()
    assert again.last["name"] == bundle.name
    assert again.last["sha256"] == bundle.digest


# --- disks ------------------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB under the folder of bundles."""
    with small_disk(tmp_path / "evidence", "256k") as place:
        yield place


def test_a_full_disk_leaves_nothing_half_done(small: Path, make: Make, folder: Folder) -> None:
    made = 0

    def fill() -> None:
        nonlocal made
        for made in range(60):
            make(made % 10)

    with pytest.raises(OSError, match="No space left") as caught:
        fill()
    assert caught.value.errno == errno.ENOSPC
    assert made > 0
    assert list(small.glob(f"{layout.PARTIAL}*")) == []
    assert len(layout.names(small)) == made
    assert all(verdict.ok for verdict in checked(folder).values())


# --- finding, leaving -------------------------------------------------------------------------------------


def test_bundles_are_called_by_name_or_alert(make: Make, folder: Folder) -> None:
    one, two = make(0), make(6)
    assert chosen(folder.path, one.name[:18]).name == one.name
    assert chosen(folder.path, two.alerts[0]["id"][:6]).name == two.name
    with pytest.raises(UsageError, match="may be"):
        chosen(folder.path, one.name[:3])
    with pytest.raises(UsageError, match="no bundle 'zz'"):
        chosen(folder.path, "zz")
    with pytest.raises(UsageError, match="which bundle"):
        chosen(folder.path, "")
    with pytest.raises(InputError, match="there is no evidence yet"):
        chosen(folder.path / "none", "x")


def test_two_bundles_of_one_alert_have_two_names(make: Make) -> None:
    assert make(0).name != make(0).name


def test_an_archive_holds_all_and_stays_as_it_is(make: Make, tmp_path: Path, signer: Signer) -> None:
    bundle = make(signer=signer)
    for name in ("a.zip", "b.zip"):
        export(bundle, tmp_path / name)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with pytest.raises(InputError, match="is there already"):
        export(bundle, tmp_path / "a.zip")
    place = tmp_path / "unpacked"
    place.mkdir()
    (found,) = unpacked(tmp_path / "a.zip", place)
    verdict = verify(found, signer.public)
    assert verdict.ok
    assert verdict.baseline == "ok"


def test_an_archive_cannot_lead_out_of_its_folder(tmp_path: Path) -> None:
    import zipfile

    for name in ("../x", "/etc/x", "a/../../x", "a/b/c", "x"):
        path = tmp_path / "bad.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, b"x")
        place = tmp_path / "place"
        place.mkdir(exist_ok=True)
        with pytest.raises(InputError, match="does not belong there"):
            unpacked(path, place)
        path.unlink()
    (tmp_path / "no.zip").write_bytes(b"PK nothing")
    with pytest.raises(InputError, match="no archive"):
        unpacked(tmp_path / "no.zip", tmp_path)


@pytest.fixture
def one_bundle(make: Make) -> Bundle:
    return make()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_manifest_with_other_types_is_refused_or_read(one_bundle: Bundle, data: st.DataObject) -> None:
    """Whatever somebody made of it: a message that names the part, or a verdict; never our mistake."""
    bundle = one_bundle
    at = json.loads(bundle.raw)
    manifest = at
    while True:  # to some part of it
        key = data.draw(st.sampled_from(sorted(at) if isinstance(at, dict) else list(range(len(at)))))
        inner = at[key]
        if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
            break
        at = inner
    at[key] = data.draw(
        st.sampled_from([None, True, -1, 10**30, 1.5, "", "x" * 50, [], {}, [[]], [None], {"a": {}}])
    )
    path = bundle.path / layout.MANIFEST
    path.write_bytes(layout.dumped(manifest))
    try:
        found = layout.load(bundle.path)
    except InputError:
        return
    finally:
        path.write_bytes(bundle.raw)
    verdict = verify(found)
    check_chain([found], {found.name: verdict}, {})
    assert facts_of(found)
    assert shown_rows(found)
    list_table(out, [found])
    print_verdict(out, verdict)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"kind": "x"}', b'{"kind": "gridwarden-evidence", "format": 99}']
)
def test_a_foreign_manifest_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / layout.MANIFEST).write_bytes(content)
    with pytest.raises(InputError, match="manifest"):
        layout.load(tmp_path)

"""``gridwarden evidence`` and ``detect --evidence``: what people and machines get, and what goes wrong."""

from __future__ import annotations

import ipaddress
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from sensor.bundle.layout import names
from sensor.cli import main
from sensor.config.schema import load_config
from sensor.pseudonym.key import MAC_TEXT, make_pseudonyms
from sensor.pseudonym.whois import in_slices
from tests.bundle.samples import key_file
from tests.daemon.process import DEMO, Daemon, write_config


def call(*arguments: object, code: int = 0) -> Result:
    done = CliRunner().invoke(main, [str(one) for one in arguments])
    assert done.exit_code == code, done.output
    return done


def records(done: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


MORE = """\
[evidence]
sign_key_file = "sign.key"
[pseudonyms]
key_file = "p.key"
names = ["TR1PROT", "BCU1"]
"""


@pytest.fixture(scope="module")
def site(baseline: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration of a daemon that has played the bad day."""
    place = tmp_path_factory.mktemp("site")
    key_file(place / "sign.key")
    (place / "p.key").write_text("a key that is long enough for tests")
    (place / "p.key").chmod(0o600)
    config = write_config(
        place / "gw.toml", baseline, f'[[source]]\ncaptures = ["{DEMO}/bad_day.pcap.gz"]', MORE
    )
    process = Daemon(config)
    assert process.wait() == 0, process.said
    return config


@pytest.fixture
def copy(site: Path, tmp_path: Path) -> Path:
    """Its folder of bundles, to be spoiled."""
    target = tmp_path / "evidence"
    shutil.copytree(site.parent / "gridwarden.evidence", target)
    return target


def modbus(site: Path) -> dict[str, Any]:
    """The bundle of the Modbus write."""
    found = records(call("evidence", "list", "-c", site, "--json"))
    return next(one for one in found if any(a["rule"] == "modbus-writer" for a in one["alerts"]))


def test_list_and_show_for_people_and_machines(site: Path) -> None:
    found = records(call("evidence", "list", "-c", site, "--json"))
    folder = site.parent / "gridwarden.evidence"
    assert [one["name"] for one in found] == names(folder)[::-1]
    assert all(one["signed"] and one["complete"] for one in found)
    text = call("evidence", "list", "-c", site, "--limit", 2).stdout
    assert found[0]["name"] in text
    assert f"the latest 2 of {len(found)}" in text
    one = modbus(site)
    ident = next(alert["id"] for alert in one["alerts"] if alert["rule"] == "modbus-writer")
    shown = call("evidence", "show", ident, "-c", site).stdout
    assert one["name"] in shown
    assert "10.20.30.66 writes (write multiple registers)" in shown
    assert "complete" in shown
    assert "gridwarden detect slice.pcapng -b ../baselines/" in shown
    (record,) = records(call("evidence", "show", ident[:8], "-c", site, "--frames", "--json"))
    assert record["name"] == one["name"]
    assert record["dissected"].startswith("frame ")


def test_mistakes_are_told_with_a_remedy_and_an_exit_code(site: Path, tmp_path: Path) -> None:
    for arguments, code, words in (
        (("list",), 2, "Give -c gridwarden.toml or --folder"),
        (("list", "--folder", tmp_path / "none"), 3, "there is no evidence yet"),
        (("show", "zzzz", "-c", site), 2, "no bundle 'zzzz'"),
        (("show", "2026", "-c", site), 2, "give more letters"),
        (("verify", "none.zip", "-c", site), 3, "No such file"),
        (("verify", "-c", site, "--key", site), 3, "is no public key"),
        (("export", modbus(site)["name"], "-c", site, "-o", site), 3, "is there already"),
        (("whois", "-c", tmp_path / "none.toml"), 3, "cannot be read"),
    ):
        done = call("evidence", *arguments, code=code)
        assert words in done.output, done.output


def test_verify_names_what_was_changed(site: Path, copy: Path) -> None:
    public = site.parent / "sign.pub"
    assert all(
        one["ok"] for one in records(call("evidence", "verify", "--folder", copy, "--json", "--key", public))
    )
    victim = copy / modbus(site)["name"]
    with (victim / "slice.pcapng").open("r+b") as file:
        file.seek(500)
        file.write(b"\xff\xff\xff")
    done = call("evidence", "verify", "--folder", copy, code=1)
    assert "slice.pcapng is changed" in done.stdout
    assert done.stdout.count("broken ") == 1
    done = call("evidence", "verify", victim.name, "--folder", copy, "--json", code=1)
    (record,) = records(done)
    assert record["members"]["slice.pcapng"] == "changed"
    assert record["members"]["alerts.jsonl"] == "ok"
    assert record["signature"] == "good"
    (victim / "manifest.json").write_text("{")
    assert "is no JSON" in call("evidence", "verify", "--folder", copy, code=1).stdout


def test_export_and_verify_without_the_site(site: Path, tmp_path: Path) -> None:
    archive = tmp_path / "case.zip"
    name = modbus(site)["name"]
    call("evidence", "export", name, "-c", site, "-o", archive)
    public = site.parent / "sign.pub"
    (record,) = records(
        call("evidence", "verify", archive, "--key", public, "--replay", "--signed", "--json")
    )
    assert set(record["replay"].values()) == {"same"}
    assert record["baseline"] == "ok"
    with zipfile.ZipFile(archive) as opened:
        assert {info.filename.partition("/")[0] for info in opened.infolist()} == {name, "baselines"}
    call("evidence", "export", name, "-c", site, "-o", tmp_path / "less.zip", "--without-baseline")
    assert (
        "cannot be judged again"
        in call("evidence", "verify", tmp_path / "less.zip", "--replay", code=1).stdout
    )


def test_an_export_with_pseudonyms_holds_no_address(site: Path, tmp_path: Path) -> None:
    folder = site.parent / "gridwarden.evidence"
    pseudonyms = make_pseudonyms(load_config(site))
    addresses = list(in_slices([folder / name / "slice.pcapng" for name in names(folder)], pseudonyms))
    hosts = [one for one in addresses if pseudonyms.address(one) != one]
    assert len(hosts) > 15
    for number, name in enumerate(names(folder)):
        archive = tmp_path / f"{number}.zip"
        (counts,) = records(
            call("evidence", "export", name, "-c", site, "-o", archive, "--pseudonymise", "--json")
        )
        assert counts["frames"] > 0
        assert counts.get("cut-address", 0) == 0  # nothing that is evidence was lost by chance
        with zipfile.ZipFile(archive) as opened:
            content = {info.filename: opened.read(info) for info in opened.infolist()}
        assert not any("baseline" in member for member in content)
        for member, octets in content.items():
            for host in hosts:
                raw = (
                    bytes.fromhex(host.replace(":", ""))
                    if MAC_TEXT.fullmatch(host)
                    else ipaddress.ip_address(host).packed
                )
                assert host.encode() not in octets, (member, host)
                assert raw not in octets, (member, host)
                assert host.replace(":", "-").encode() not in octets
            assert b"TR1PROT" not in octets
            assert b"BCU1" not in octets
            assert name[17:].encode() not in octets
            assert name not in member
    (record,) = records(call("evidence", "verify", tmp_path / "1.zip", "--json"))
    assert record["signature"] == "good"
    assert record["baseline"] == "not kept"


def test_an_exported_alert_leads_back_through_whois(site: Path, tmp_path: Path) -> None:
    archive = tmp_path / "case.zip"
    call("evidence", "export", modbus(site)["name"], "-c", site, "-o", archive, "--pseudonymise")
    with zipfile.ZipFile(archive) as opened:
        member = next(info for info in opened.infolist() if info.filename.endswith("alerts.jsonl"))
        told = [json.loads(line) for line in opened.read(member).splitlines()]
        text = next(
            opened.read(info).decode()
            for info in opened.infolist()
            if info.filename.endswith("dissection.txt")
        )
    writer = next(alert for alert in told if alert["rule"] == "modbus-writer")
    assert writer["src"] in text  # words, frames and dissection speak of the same host
    (record,) = records(call("evidence", "whois", writer["src"], "-c", site, "--json"))
    assert record == {"pseudonym": writer["src"], "stands_for": "10.20.30.66"}
    assert writer["src"] in call("evidence", "whois", "10.20.30.66", "-c", site).stdout
    every = records(call("evidence", "whois", "-c", site, "--json"))
    assert {"10.20.30.66", "02:00:0a:14:1e:42", "TR1PROT"} <= {one["stands_for"] for one in every}
    done = call("evidence", "whois", "10.9.9.9", "-c", site, code=1)
    assert "--range" in done.output
    (record,) = records(call("evidence", "whois", "10.9.9.9", "-c", site, "--range", "10.9.9.0/24", "--json"))
    assert record["stands_for"] == "10.9.9.9"
    assert "no network" in call("evidence", "whois", "x", "-c", site, "--range", "10.9", code=2).output


def test_without_a_key_nothing_is_exported_with_pseudonyms(site: Path, tmp_path: Path) -> None:
    config = tmp_path / "gw.toml"
    folder = site.parent / "gridwarden.evidence"
    text = site.read_text().partition("[pseudonyms]")[0].replace('"sign.key"', f'"{site.parent}/sign.key"')
    config.write_text(text.replace("[evidence]", f'[evidence]\nfolder = "{folder}"'))
    target = tmp_path / "case.zip"
    arguments = ("export", modbus(site)["name"], "-c", config, "-o", target, "--pseudonymise")
    assert "openssl rand -hex 32" in call("evidence", *arguments, code=3).output
    assert not target.exists()


def test_detect_writes_bundles_of_captures(site: Path, baseline: Path, tmp_path: Path) -> None:
    """The same alerts have evidence as in the daemon, and again changes nothing."""
    folder = tmp_path / "e"
    arguments = (
        "detect",
        DEMO / "bad_day.pcap.gz",
        "-b",
        baseline,
        "--engine",
        "native",
        "--evidence",
        folder,
    )
    done = call(*arguments, "--json")
    loud = {one["id"] for one in records(done) if one["level"] in ("warning", "alarm")}
    found = records(call("evidence", "list", "--folder", folder, "--json"))
    assert {alert["id"] for one in found for alert in one["alerts"]} == loud
    daemon = records(call("evidence", "list", "-c", site, "--json"))
    assert {a["id"] for one in daemon for a in one["alerts"]} == loud
    call("evidence", "verify", "--folder", folder)
    call(*arguments, "--json")
    assert records(call("evidence", "list", "--folder", folder, "--json")) == found


def test_detect_refuses_evidence_of_an_interface(baseline: Path, tmp_path: Path) -> None:
    done = call("detect", "--interface", "lo", "-b", baseline, "--evidence", tmp_path / "e", code=2)
    assert "gridwarden run" in done.output

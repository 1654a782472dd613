"""A configuration is checked as a whole, and every mistake names file, line and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from sensor.config.check import check_surroundings
from sensor.config.lines import key_lines, line_of
from sensor.config.reader import ConfigError
from sensor.config.schema import Config, load_config, parse_config
from sensor.config.template import example

GOOD = """\
[site]
name = "station-7"
baseline = "station.baseline"

[[source]]
interface = "eth1"
filter = "not port 22"

[[source]]
name = "bay 3"
interface = "eth2"
"""
GOOD = GOOD.replace("bay 3", "bay-3")


def parse(text: str) -> Config:
    return parse_config(text.encode(), Path("/etc/gw/x.toml"))


def mistakes(text: str) -> list[tuple[int, str]]:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert caught.value.exit_code == 3
    for line in str(caught.value).splitlines():
        assert line.startswith("/etc/gw/x.toml:"), line
    return [(problem.line, problem.key) for problem in caught.value.problems]


def test_a_good_file_has_defaults_and_paths_beside_it() -> None:
    config = parse(GOOD)
    assert config.live
    assert config.baseline == Path("/etc/gw/station.baseline")
    assert config.store.path == Path("/etc/gw/gridwarden.db")
    assert [source.name for source in config.sources] == ["eth1", "bay-3"]
    assert config.sources[0].filter == "not port 22"
    assert config.slice_ns == 250_000_000
    played = parse(
        '[site]\nname = "x"\nbaseline = "b"\n[[source]]\ncaptures = ["a.pcap"]\n[replay]\nspeed = 10\n'
    )
    assert (played.live, played.speed, played.slice_ns) == (False, 10.0, 2_000_000_000)
    assert played.sources[0].captures == ("/etc/gw/a.pcap",)


def test_evidence_and_pseudonyms_have_defaults_beside_the_store() -> None:
    config = parse(GOOD + '[store]\npath = "/var/lib/gw/north.db"\n')
    assert config.evidence.enabled
    assert config.evidence.folder == Path("/var/lib/gw/north.evidence")
    assert (config.evidence.before_s, config.evidence.after_s, config.evidence.min_level) == (
        10,
        5,
        "warning",
    )
    assert config.evidence.sign_key is None
    assert config.pseudonyms.key is None
    evidence = '[evidence]\nfolder = "e"\nsign_key_file = "k"\n'
    config = parse(f'{GOOD}{evidence}[pseudonyms]\nkey_credential = "p"\nnames = ["BCU1"]\n')
    assert config.evidence.folder == Path("/etc/gw/e")
    assert config.evidence.sign_key is not None
    assert config.evidence.sign_key.file == Path("/etc/gw/k")
    assert config.pseudonyms.key is not None
    assert config.pseudonyms.key.credential == "p"
    assert config.pseudonyms.names == ("BCU1",)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[evidence]\nmin_level = "loud"', "evidence.min_level"),
        ("[evidence]\nbefore_s = -1", "evidence.before_s"),
        ("[evidence]\nring_mib = 8\nslice_mib = 9", "evidence.slice_mib"),
        ("[evidence]\nmax_mib = 10", "evidence.max_mib"),
        ("[evidence]\nkeep_day = 10", "evidence.keep_day"),
        ('[evidence]\nsign_key_file = "a"\nsign_key_credential = "b"', "evidence.sign_key_credential"),
        ('[pseudonyms]\nnames = ["BCU1"]', "pseudonyms.names"),
        ('[pseudonyms]\nkey_file = "k"\nnames = ["a b"]', "pseudonyms.names"),
        ('[pseudonyms]\nkey = "secret itself"', "pseudonyms.key"),
    ],
)
def test_mistakes_of_evidence_and_pseudonyms_name_their_line(text: str, key: str) -> None:
    first = GOOD.count("\n") + 2
    ((line, found),) = mistakes(GOOD + text + "\n")
    assert found == key
    assert line >= first


def test_keys_and_folder_are_looked_at(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "k").write_text("no key")
    (tmp_path / "k").chmod(0o600)
    (tmp_path / "a.pcap").write_bytes(bytes(40))
    text = '[site]\nname = "x"\nbaseline = "b"\n[[source]]\ncaptures = ["a.pcap"]\n[evidence]\n'
    file = tmp_path / "gw.toml"
    file.write_text(f'{text}folder = "file/e"\nsign_key_file = "k"\n')
    with pytest.raises(ConfigError) as caught:
        check_surroundings(load_config(file))
    told = str(caught.value)
    assert f"{file}:7: evidence.folder: {tmp_path / 'file'} is not a folder" in told
    assert f"{file}:8: evidence.sign_key_file: " in told
    assert "openssl genpkey -algorithm ed25519" in told


def test_all_mistakes_are_told_at_once_with_their_lines() -> None:
    text = """\
[site]
name = "station 7"
baselin = "station.baseline"

[[source]]
interface = "eth1"
ring_mib = "64"

[[source]]
interface = "eth1"

[store]
keep_days = -1
max_mib = 1.5

[helth]
interval_s = 1
"""
    assert mistakes(text) == [
        (1, "site.baseline"),
        (2, "site.name"),
        (3, "site.baselin"),
        (7, "source[0].ring_mib"),
        (9, "source[1]"),
        (13, "store.keep_days"),
        (14, "store.max_mib"),
        (16, "helth"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ('interface = "eth1"\n', 'interface = "eth1"\ncaptures = ["a.pcap"]\n', (5, "source[0]")),
        ('interface = "eth1"\n', "", (5, "source[0]")),
        ('interface = "eth1"\n', 'interface = "../eth1"\n', (6, "source[0].interface")),
        ('interface = "eth2"', 'captures = ["a.pcap"]', (9, "source[1]")),
        ('name = "station-7"\n', "name = 7\n", (2, "site.name")),
        ("[[source]]", "[source]", (5, "source")),
    ],
)
def test_each_mistake_is_told_at_its_place(old: str, new: str, place: tuple[int, str]) -> None:
    text = (
        GOOD.replace(old, new, 1)
        if old != "[[source]]"
        else GOOD.split("[[source]]\nname")[0].replace(old, new)
    )
    assert place in mistakes(text)


def test_what_is_no_toml_is_told_with_its_line() -> None:
    assert mistakes(GOOD + "[store\npath = 1\n") == [(12, "")]
    with pytest.raises(ConfigError, match=r"x\.toml:2: is not UTF-8 text"):
        parse_config(b"[site]\nname = '\xff'\n", Path("x.toml"))


def test_nothing_to_read_is_a_mistake() -> None:
    assert mistakes('[site]\nname = "x"\nbaseline = "b"\n') == [(1, "source")]


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file or directory"):
        load_config(tmp_path / "none.toml")


def test_sinks_are_kept_as_they_stand() -> None:
    config = parse(GOOD + '[[sink]]\nname = "soc"\nurl = "https://x"\n')
    assert [dict(sink) for sink in config.sinks] == [{"name": "soc", "url": "https://x"}]


def test_the_example_is_a_good_configuration() -> None:
    config = parse(example())
    assert config.site == "my-station"
    uncommented = example().replace("# slice_ms", "slice_ms").replace("# max_assets", "max_assets")
    assert parse(uncommented).detect.slice_ms == 250


@pytest.mark.parametrize("path", ["/var/lib/gridwarden/north.db", '/srv/a "b"\\c.db', "/srv/{sources}.db"])
def test_the_example_names_the_store_that_was_asked_for(path: str) -> None:
    assert parse(example(path)).store.path == Path(path)


def test_lines_of_keys_are_found_through_all_of_tomls_forms() -> None:
    text = '''\
top = [
  "a = 1",
  { b = 2 },
]
text = """
[no.table]
c = 3
"""
[one.two]   # why
"quoted" = '#'
dotted.key = 1
[[list]]
x = 1
[list.inner]
y = 2
[[list]]
x = 2
'''
    lines = key_lines(text)
    assert lines["top"] == 1
    assert lines["text"] == 5
    assert "no.table" not in lines
    assert "c" not in lines
    assert (lines["one.two"], lines["one.two.quoted"], lines["one.two.dotted.key"]) == (9, 10, 11)
    assert (lines["list[0].x"], lines["list[0].inner.y"], lines["list[1].x"]) == (13, 15, 17)
    assert line_of(lines, "list[1].missing") == 16
    assert line_of(lines, "nowhere") == 1

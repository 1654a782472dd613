"""The catalogue of explanations is complete, and its languages say the same things."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from detectors.explain.catalogue import (
    LANGUAGES,
    PLACEHOLDERS,
    load_catalogue,
    placeholders,
)
from grid_profiles.loader import load_registry
from grid_profiles.vocabulary import KindClass

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "detectors" / "explain"
PARTS = ("what", "why", "fault", "operation", "attack", "visibility", "check")
CHINESE = re.compile("[\u4e00-\u9fff]")
TRANSLATED = ("goose", "sv", "iec104", "modbus", "dnp3", "mms", "c37118", "ptp", "s7comm", "dlms")
"""Protocols whose effects of messages have a Chinese wording."""


def documented() -> set[str]:
    """Rule ids in the first column of the tables of docs/rules.md."""
    text = (ROOT / "docs" / "rules.md").read_text("utf-8")
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return {rule for cell in cells for rule in re.findall(r"`([a-z0-9-]+)`", cell)}


def test_every_documented_rule_has_an_entry() -> None:
    rules = documented()
    assert len(rules) > 150
    assert rules - load_catalogue().entries.keys() == set(), (
        "give them a line in detectors/explain/rules.toml"
    )


def test_every_entry_is_of_a_documented_rule() -> None:
    assert load_catalogue().entries.keys() - documented() == set()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_rule_is_explained_in_full(language: str) -> None:
    catalogue = load_catalogue(language)
    lacking = []
    for rule in catalogue.entries:
        if f"rule.{rule}.what" not in catalogue.texts:
            lacking.append(f"{rule}: no sentence of its own")
        lacking += [f"{rule}: {part}" for part in PARTS if not catalogue.about(rule, part, {})]
        if not 3 <= len(catalogue.steps(rule, {})) <= 6:
            lacking.append(f"{rule}: steps")
    assert lacking == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_is_of_a_rule_that_is_not_there(language: str) -> None:
    catalogue = load_catalogue(language)
    rules = {key.split(".")[1] for key in catalogue.texts if key.startswith("rule.")}
    assert rules - catalogue.entries.keys() == set()
    families = {key.split(".")[1] for key in catalogue.texts if key.startswith("family.")}
    used = {entry.family for entry in catalogue.entries.values()} | {"unknown"}
    assert families == used


def test_the_languages_have_the_same_keys() -> None:
    english, chinese = (
        {key for key in load_catalogue(language).texts if not key.startswith("effect.")}
        for language in LANGUAGES
    )
    assert english - chinese == set(), "missing in zh_CN"
    assert chinese - english == set(), "missing in en"


def test_the_languages_have_the_same_placeholders_and_steps() -> None:
    english, chinese = (load_catalogue(language).texts for language in LANGUAGES)
    for key, text in english.items():
        other = chinese[key]
        assert placeholders(text) == placeholders(other), key
        assert isinstance(text, tuple) == isinstance(other, tuple), key
        if isinstance(text, tuple):
            assert len(text) == len(other), key


@pytest.mark.parametrize("language", LANGUAGES)
def test_sentences_about_rules_name_only_what_an_alert_has(language: str) -> None:
    for key, text in load_catalogue(language).texts.items():
        if key.startswith(("rule.", "family.")):
            assert placeholders(text) <= set(PLACEHOLDERS), key


def test_chinese_is_chinese() -> None:
    for key, text in load_catalogue("zh_CN").texts.items():
        for part in (text,) if isinstance(text, str) else text:
            words = re.sub(r"\{\w+\}|UTC", "", part).strip()
            assert not words or CHINESE.search(words), f"{key} has no Chinese in it: {part}"
            assert not re.search(r"[\u4e00-\u9fff][,;?!]", part), f"{key}: western punctuation: {part}"


def test_english_has_no_chinese() -> None:
    for key, text in load_catalogue("en").texts.items():
        assert not CHINESE.search(str(text)), key


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_danger_class_and_level_has_a_wording(language: str) -> None:
    catalogue = load_catalogue(language)
    assert all(catalogue.maybe(f"danger.{kind.value}") for kind in KindClass)
    assert all(catalogue.maybe(f"level.{level}") for level in ("info", "notice", "warning", "alarm"))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_technique_that_rules_name_is_described(language: str) -> None:
    named = set(re.findall(r"T0\d{3}", (ROOT / "docs" / "rules.md").read_text("utf-8")))
    assert len(named) > 15
    for technique in named:
        assert load_catalogue(language).maybe(f"technique.{technique}.text"), technique


def test_effects_of_the_main_protocols_are_translated() -> None:
    texts = load_catalogue("zh_CN").texts
    registry = load_registry()
    for name in TRANSLATED:
        for kind in registry.by_name(name).kinds.values():
            assert not kind.effect or f"effect.{kind.effect}" in texts, f"{name}: {kind.effect}"


def test_no_key_stands_twice_and_every_file_is_read() -> None:
    for language in LANGUAGES:
        files = list((FOLDER / language).glob("*.toml"))
        assert len(files) >= 5
        for file in files:
            tomllib.loads(file.read_text("utf-8"))
    assert {path.name for path in FOLDER.iterdir() if path.is_dir() and path.name != "__pycache__"} == set(
        LANGUAGES
    )

"""What an explanation says, and that names from packets stay names."""

from __future__ import annotations

import pytest

from detectors.base import Alert, blank_alert
from detectors.explain.catalogue import LANGUAGES, load_catalogue
from detectors.explain.explanation import KindFacts, check_of, explained


def alert(ident: str = "a1", **changes: object) -> Alert:
    """An alert in which any field may be given."""
    made = blank_alert("new-command-source")
    given = {
        "id": ident,
        "start": 1000.0,
        "end": 1000.0,
        "level": "alarm",
        "reading": "attack",
        "protocol": "iec104",
        "src": "10.0.0.66",
        "dst": "10.0.0.7",
        "kind": "C_DC_NA_1 double command",
        "point": "CA 1 IOA 4005",
        "technique": "T0855",
        "readings": {"attack": 0.9, "operation": 0.1},
        "count": 1,
    }
    for name, value in (given | changes).items():
        setattr(made, name, value)
    return made


def test_names_of_the_alert_stand_in_the_sentences() -> None:
    told = explained(alert(), load_catalogue())
    assert told.what.startswith("10.0.0.66 sent C_DC_NA_1 double command to 10.0.0.7")
    assert any("CA 1 IOA 4005" in step for step in told.steps)
    assert told.technique == "T0855 Unauthorized Command Message"


def test_a_missing_name_is_a_word_and_begins_a_sentence_well() -> None:
    told = explained(alert(src="", rule="new-host"), load_catalogue())
    assert told.what.startswith("The sender speaks")
    assert explained(alert(src="", rule="new-host"), load_catalogue("zh_CN")).what.startswith("发送方")


@pytest.mark.parametrize("hostile", ["{dst}", "{0.__class__}", "{", "}", "%s", "{src:>999999}"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_braces_in_a_name_are_only_text(hostile: str, language: str) -> None:
    told = explained(alert(src=hostile, kind=hostile, point=hostile), load_catalogue(language))
    assert hostile in told.what
    assert len(told.what) < 600


def test_a_long_name_is_cut() -> None:
    told = explained(alert(src="x" * 100_000), load_catalogue())
    assert len(told.what) < 1000


def test_readings_are_ordered_by_weight_and_add_up() -> None:
    told = explained(
        alert(readings={"attack": 3.0, "operation": 1.0, "fault": float("nan")}), load_catalogue()
    )
    assert [part.name for part in told.readings] == ["attack", "operation", "fault"]
    assert [part.weight for part in told.readings] == [0.75, 0.25, 0.0]
    assert all(part.evidence for part in told.readings)


def test_lack_of_sight_is_a_reading_when_frames_were_lost() -> None:
    seen = explained(alert(rule="goose-gap"), load_catalogue())
    assert "visibility" not in {part.name for part in seen.readings}
    blind = explained(alert(rule="goose-gap"), load_catalogue(), lost=17)
    part = next(part for part in blind.readings if part.name == "visibility")
    assert "lost in this run: 17" in part.evidence


def test_other_alerts_of_the_incident_are_evidence_for_their_reading() -> None:
    own = alert("a1")
    others = [
        alert("a2", rule="new-host"),
        alert("a3", rule="new-host"),
        alert("a4", rule="silence", reading="fault"),
    ]
    told = explained(own, load_catalogue(), incident=[own, *others])
    by_name = {part.name: part for part in told.readings}
    assert [(one.rule, one.count) for one in by_name["attack"].companions] == [("new-host", 2)]
    assert [one.rule for one in by_name["fault"].companions] == ["silence"]
    assert by_name["operation"].companions == ()


def test_companions_are_bounded() -> None:
    rules = ["silence", "rate", "early", "new-host", "new-kind"]
    others = [alert(f"b{place}", rule=rule) for place, rule in enumerate(rules)]
    told = explained(alert(), load_catalogue(), incident=others)
    part = next(part for part in told.readings if part.name == "attack")
    assert (len(part.companions), part.more) == (3, 2)


def test_danger_and_effect_in_both_languages() -> None:
    facts = KindFacts("control", "opens or closes a breaker or disconnector")
    english = explained(alert(), load_catalogue(), facts)
    chinese = explained(alert(), load_catalogue("zh_CN"), facts)
    assert "breaker" in english.danger
    assert english.effect == facts.effect
    assert chinese.effect == "分合断路器或隔离开关"
    assert explained(alert(), load_catalogue("zh_CN"), KindFacts("control", "never heard of")).effect == ""


def test_an_unknown_rule_is_explained_in_general() -> None:
    told = explained(alert(rule="of-tomorrow"), load_catalogue())
    assert told.what
    assert told.check == load_catalogue().about("nothing-like-it", "check", {})


def test_the_check_alone() -> None:
    assert (
        check_of(alert(rule="goose-replay"), load_catalogue())
        == explained(alert(rule="goose-replay"), load_catalogue()).check
    )


def test_deciding_fields_are_those_of_the_rule_or_of_the_protocol() -> None:
    catalogue = load_catalogue()
    assert "goose.stNum" in catalogue.fields("goose-replay", "goose")
    assert "iec60870_asdu.typeid" in catalogue.fields("new-kind", "iec104")
    assert catalogue.fields("new-kind", "never-heard-of") == ()


def test_what_a_message_can_do_is_not_said_of_one_that_did_not_come() -> None:
    told = explained(alert(rule="silence"), load_catalogue(), KindFacts("control", "opens a breaker"))
    assert (told.danger, told.effect) == ("", "")

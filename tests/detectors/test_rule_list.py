"""docs/rules.md lists every rule id that the code can give, and no other."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from detectors.behaviour import MODELS
from grid_profiles.attack import techniques

ROOT = Path(__file__).resolve().parents[2]
MAKERS = {
    "Rule",
    "Finding",
    "LinkFinding",
    "_finding",
    "_made",
    "_bit",
    "message_finding",
    "news_finding",
    "point_finding",
    "own_alert",
    "begin",
}
RULE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def in_code() -> set[str]:
    """Text constants handed to whatever makes findings, as its rule."""
    found: set[str] = set()
    for path in [*(ROOT / "detectors").rglob("*.py"), *(ROOT / "sensor" / "daemon").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and _name(node.func) in MAKERS:
                given = [*node.args[:2], *(word.value for word in node.keywords if word.arg == "rule")]
                found |= {
                    arg.value for arg in given if isinstance(arg, ast.Constant) and isinstance(arg.value, str)
                }
            if isinstance(node, ast.Assign) and _name(node.targets[0]) == "rule":
                found |= {c.value for c in ast.walk(node.value) if isinstance(c, ast.Constant)}
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple):
                first = node.targets[0].elts[0]
                if _name(first) == "rule":
                    pairs = [t for t in ast.walk(node.value) if isinstance(t, ast.Tuple)]
                    found |= {t.elts[0].value for t in pairs if isinstance(t.elts[0], ast.Constant)}
    return {rule for rule in found if RULE.fullmatch(rule)} | {f"behaviour-{name}" for name in MODELS}


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def in_docs() -> set[str]:
    """Rule ids in the first column of the tables."""
    text = (ROOT / "docs" / "rules.md").read_text("utf-8")
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return {rule for cell in cells for rule in re.findall(r"`([a-z0-9-]+)`", cell)}


def test_every_rule_is_documented_and_every_documented_rule_exists() -> None:
    code, docs = in_code(), in_docs()
    assert len(code) > 40
    assert code - docs == set(), "rules without a line in docs/rules.md"
    assert docs - code == set(), "docs/rules.md names rules that no code gives"


def declared() -> dict[str, tuple[str, str]]:
    """Id, technique and file of every rule that is declared as one."""
    found = {}
    for path in (ROOT / "detectors" / "rules").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and _name(node.func) == "Rule":
                words = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
                found[str(words[0])] = (str(words[1]) if len(words) > 1 else "", path.name)
    return found


def test_every_technique_of_a_rule_is_in_the_map() -> None:
    known = techniques()
    assert {tech for tech, _ in declared().values() if tech} <= set(known)


def test_every_declared_rule_has_a_test() -> None:
    tests = "".join(path.read_text("utf-8") for path in Path(__file__).parent.glob("test_*_rules.py"))
    assert {rule for rule in declared() if f'"{rule}"' not in tests} == set()

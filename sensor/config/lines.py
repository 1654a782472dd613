"""Where a key stands in a TOML file: tomllib gives values without their lines.

A scan over the text that knows just enough of TOML: headers, keys, and values that run over several lines.
It is asked only about text that tomllib has accepted, and only to name a line in a message: where it cannot
tell, it names the line of the table.
"""

from __future__ import annotations

import re
from typing import Final

_HEADER: Final = re.compile(r"\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(#.*)?$")
_KEY: Final = re.compile(r"""\s*((?:[A-Za-z0-9_\-]+|"[^"]*"|'[^']*')(?:\s*\.\s*[A-Za-z0-9_\-]+)*)\s*=""")
_QUOTED: Final = re.compile(r'''"""|\'\'\'|"(?:\\.|[^"\\])*"|'[^']*'|#.*|[\[\]{}]''')


def key_lines(text: str) -> dict[str, int]:
    """Line (from 1) of each table and key, by its path: ``source[1].interface``."""
    found: dict[str, int] = {}
    counts: dict[str, int] = {}
    path, depth, fence = "", 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        if not fence and not depth:
            header = _HEADER.match(line)
            if header:
                path = _table(header, counts)
                found.setdefault(path, number)
                continue
            key = _KEY.match(line)
            if key:
                name = ".".join(part.strip().strip("\"'") for part in key[1].split("."))
                found.setdefault(f"{path}.{name}" if path else name, number)
                line = line[key.end() :]
        depth, fence = _open(line, depth, fence)
    return found


def line_of(lines: dict[str, int], path: str) -> int:
    """Line of a key, of the nearest table around it, or 1."""
    while path and path not in lines:
        cut = max(path.rfind("."), path.rfind("["))
        path = path[:cut] if cut > 0 else ""
    return lines.get(path, 1)


def _table(header: re.Match[str], counts: dict[str, int]) -> str:
    name = ".".join(part.strip().strip("\"'") for part in header[2].split("."))
    if header[1] == "[":
        parent = name.partition(".")[0]
        if parent != name and parent in counts:  # a table inside the last of a list of tables
            return f"{parent}[{counts[parent] - 1}]{name[len(parent) :]}"
        return name
    counts[name] = counts.get(name, 0) + 1
    return f"{name}[{counts[name] - 1}]"


def _open(line: str, depth: int, fence: str) -> tuple[int, str]:
    """(brackets open, quotes of an open text) at the end of a line."""
    at = 0
    while True:
        if fence:
            end = line.find(fence, at)
            if end < 0:
                return depth, fence
            at, fence = end + 3, ""
        token = _QUOTED.search(line, at)
        if token is None:
            return depth, fence
        at = token.end()
        if token[0] in ('"""', "'''"):
            fence = token[0]
        elif token[0] in "[{":
            depth += 1
        elif token[0] in "]}":
            depth = max(0, depth - 1)

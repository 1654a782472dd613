"""Labels: what is read, what is refused and how it is said."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensor.errors import LabelsError
from sensor.labels import (
    ATTACK,
    COLUMNS,
    DISTURBANCE,
    LABELS,
    Event,
    format_labels,
    parse_labels,
    read_labels,
)

HEADER = ",".join(COLUMNS)
ROW = "1424799610.066448,1424799610.460656,attack,T0855,192.168.1.101,192.168.1.102,fake command"

TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=30).map(str.strip)
TIME = st.floats(0, 253_402_300_799, allow_nan=False)


@st.composite
def events(draw: st.DrawFn) -> Event:
    start, end = sorted((draw(TIME), draw(TIME)))
    label = draw(st.sampled_from(LABELS))
    return Event(start, end, label, draw(TEXT), draw(TEXT), draw(TEXT), draw(TEXT))


@given(st.lists(events(), max_size=20))
def test_what_is_written_is_read_back(table: list[Event]) -> None:
    expected = sorted(table, key=lambda event: (event.start, event.end))
    assert parse_labels(format_labels(table)) == expected


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    for candidate in (text, f"{HEADER}\n{text}"):
        with contextlib.suppress(LabelsError):
            parse_labels(candidate, "x.csv")


def test_a_plain_row() -> None:
    (event,) = parse_labels(f"{HEADER}\n{ROW}\n")
    assert event == Event(
        1424799610.066448,
        1424799610.460656,
        ATTACK,
        "T0855",
        "192.168.1.101",
        "192.168.1.102",
        "fake command",
    )
    assert event.hosts == {"192.168.1.101", "192.168.1.102"}


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_endings_and_byte_order_mark(tmp_path: Path, ending: str, mark: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(f"{mark}{HEADER}{ending}{ROW}{ending}{ending}".encode())
    assert len(read_labels(path)) == 1


def test_quoted_cells_columns_in_any_order_and_columns_of_others() -> None:
    text = 'note,label,colour,end,start\n"a, ""b""\nsecond line",Benign-Disturbance,red,3.5,1\n'
    (event,) = parse_labels(text)
    assert event == Event(1.0, 3.5, DISTURBANCE, note='a, "b"\nsecond line')
    assert event.hosts == frozenset()


def test_a_header_alone_is_a_capture_in_which_nothing_happened() -> None:
    assert parse_labels(HEADER) == []


def test_rows_are_sorted_and_may_lack_cells_at_their_end() -> None:
    assert [event.start for event in parse_labels("start,end,label,note\n5,5,attack\n2,9,attack,x\n")] == [
        2,
        5,
    ]


def test_several_hosts_in_a_cell() -> None:
    assert Event(0, 1, ATTACK, src="10.0.0.1; 10.0.0.2", dst="AA:bb:cc:00:11:22").hosts == {
        "10.0.0.1",
        "10.0.0.2",
        "aa:bb:cc:00:11:22",
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "x.csv: is empty. The first line must be the header"),
        ("a,b,c\n", "x.csv: line 1: no column start, end, label in the header 'a,b,c'"),
        ("start,end,label,start\n", "x.csv: line 1: column start stands twice"),
        (
            f"{HEADER}\n1,2,attack\nabc,2,attack\n",
            "x.csv: line 3: column start: 'abc' is not a number. Write epoch",
        ),
        (f"{HEADER}\n1_0,20,attack\n", "x.csv: line 2: column start: '1_0' is not a number"),
        (f"{HEADER}\n1,nan,attack\n", "x.csv: line 2: column end: 'nan' is not a number"),
        (f"{HEADER}\n1,,attack\n", "x.csv: line 2: column end: '' is not a number"),
        (
            f"{HEADER}\n1,1424799610066448,attack\n",
            "column end: '1424799610066448' is no time in epoch seconds",
        ),
        (f"{HEADER}\n-1,2,attack\n", "column start: '-1' is no time"),
        (f"{HEADER}\n5,4.5,attack\n", "x.csv: line 2: column end: '4.5' lies before start 5. Swap the two"),
        (f"{HEADER}\n1,2,evil\n", "column label: 'evil' is no label. Write attack or benign-disturbance"),
        (f'{HEADER}\n1,2,attack,"T0855\n', "x.csv: line 2: not a CSV row"),
        (f'{HEADER}\n1,2,attack,"T"0855\n', "x.csv: line 2: not a CSV row"),
    ],
)
def test_refusals_name_line_column_value_and_remedy(text: str, said: str) -> None:
    with pytest.raises(LabelsError) as caught:
        parse_labels(text, "x.csv")
    assert said in str(caught.value)
    assert caught.value.exit_code == 3


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match="cannot be read: No such file"):
        read_labels(tmp_path / "none.csv")
    with pytest.raises(LabelsError, match="cannot be read: Is a directory"):
        read_labels(tmp_path)
    latin = tmp_path / "latin.csv"
    latin.write_bytes(f"{HEADER}\n1,2,attack,,,,S\xfcd".encode("latin-1"))
    with pytest.raises(LabelsError, match=r"latin.csv: line 2: byte 0xfc is not UTF-8 text\. Save"):
        read_labels(latin)

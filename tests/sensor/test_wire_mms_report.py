"""Head of MMS reports: native against its slow twin and against tshark, every cut, lengths that lie."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from grid_profiles.vocabulary import Flag
from sensor.names import printable
from tests.lab import frames as f
from tests.lab import iso as i
from tests.lab.frames import ber, write_pcap
from tests.reference.mms_report import head
from tests.reference.rows import Message
from tests.reference.run import Native, shots

RCB, DATA = "LD0/LLN0$BR$brcb01", "LD0/LLN0$ds1"
MEASURED = (ber(0x87, b"\x08?\x80\0\0"), ber(0x84, b"\6\x80"))
REPORTS = {
    "all": i.report_values(RCB, 513, DATA, overflow=True, entry=bytes(8), revision=1, parts=(3, True)),
    "buffered": i.report_values(
        RCB, 300, DATA, overflow=False, entry=bytes(8), revision=70_000, values=MEASURED
    ),
    "unbuffered": i.report_values("urcb", 255, DATA, values=MEASURED),
    "last part": i.report_values("urcb", 0, parts=(200, False), values=MEASURED),
    "no number": i.report_values("urcb", None, DATA, values=MEASURED),
    "nothing": i.report_values("urcb", None),
    "no name": i.report_values("", 7, DATA),
}


def rows(*pdus: bytes, cut: int = 1 << 20) -> list[Message]:
    """Information reports that a server sends."""
    talk = f.Talk("10.0.0.1", "10.0.0.2", 102)
    talk.open(0)
    for number, pdu in enumerate(pdus, 1):
        talk.server(number, i.mms(pdu))
    return [row for row in Native().feed(shots(talk.frames, cut)) if row.proto == "mms"]


def wrapped(values: bytes) -> bytes:
    """A report with these values."""
    return ber(0xA3, ber(0xA0, ber(0xA1, ber(0x80, b"RPT")) + ber(0xA0, values)))


def check(row: Message, values: bytes) -> None:
    """Native says of a row what the twin says of its values."""
    said = head(values)
    assert (row.seq, row.aux) == (said.number, said.parts)
    assert row.ident == printable(said.ident)
    assert row.name == (printable(said.data_set) or "RPT")


@pytest.mark.parametrize("case", REPORTS)
def test_native_reads_what_the_twin_reads(case: str) -> None:
    (row,) = rows(wrapped(REPORTS[case]))
    assert row.kind == 768
    check(row, REPORTS[case])


def test_what_is_read_is_what_was_sent() -> None:
    whole, part, plain = rows(*(wrapped(REPORTS[case]) for case in ("all", "last part", "unbuffered")))
    assert (whole.seq, whole.aux, whole.ident, whole.name) == (513, 3 << 2 | 2 | 1, RCB, DATA)
    assert (part.seq, part.aux, plain.seq, plain.aux) == (0, 200 << 2, 255, -1)


def test_other_information_reports_have_no_head() -> None:
    listed = ber(0xA3, ber(0xA0, i.variable_list(i.item("LD0", "x")) + ber(0xA0, REPORTS["all"])))
    named = ber(0xA3, ber(0xA0, ber(0xA1, ber(0x80, b"RPX")) + ber(0xA0, REPORTS["all"])))
    for row in rows(listed, named):
        assert (row.seq, row.aux, row.ident) == (-1, -1, "")


def test_every_cut_and_any_octet_changed() -> None:
    """As in the twin, and never an exception; a few thousand reports, the same ones each time."""
    noise = random.Random(61850)
    for values in REPORTS.values():
        made = [values[:size] for size in range(len(values))]
        for _ in range(300):
            spoilt = bytearray(values)
            for _ in range(noise.randrange(1, 4)):
                spoilt[noise.randrange(len(spoilt))] = noise.choice([noise.randrange(256), 0x80, 0x84, 0xFF])
            made.append(bytes(spoilt))
        for row, one in zip(rows(*map(wrapped, made)), made, strict=True):
            check(row, one)


def test_a_frame_that_the_capture_cut() -> None:
    pdu = wrapped(REPORTS["all"])
    size = len(i.mms(pdu))
    for length in range(60, 54 + size):
        for row in rows(pdu, cut=length):
            assert row.flags & Flag.TRUNCATED
            assert row.seq in (-1, 513)
            assert row.ident in ("", RCB)


@pytest.mark.tshark
@pytest.mark.skipif(not shutil.which("tshark"), reason="no tshark here")
def test_tshark_sees_the_same_number_and_names(tmp_path: Path) -> None:
    """tshark shows the values of a report one by one: the first unsigned is SqNum, the texts are names."""
    talk = f.Talk("10.0.0.1", "10.0.0.2", 102)
    talk.open(0)
    talk.client(1, i.dt(i.associate(ber(0xA8, ber(0x80, b"\0")), contexts=i.CONTEXTS)))
    for number in range(250, 262):
        talk.server(number - 248, i.mms(i.report(RCB, number, DATA, overflow=False, revision=1)))
    path = tmp_path / "x.pcap"
    write_pcap(path, talk.frames)
    fields = ["-e", "frame.number", "-e", "mms.unsigned", "-e", "mms.data.visible-string"]
    which = ["tshark", "-r", str(path), "-Y", "mms.informationReport_element"]
    asked = [*which, "-T", "fields", "-E", "aggregator=|", *fields]
    told = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines()
    native = {row.frame: row for row in Native().feed(shots(talk.frames)) if row.kind == 768}
    assert len(told) == len(native) == 12
    for line in told:
        frame, numbers, names = line.split("\t")
        row = native[int(frame)]
        assert (str(row.seq), [row.ident, row.name]) == (numbers.split("|")[0], names.split("|"))

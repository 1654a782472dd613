"""Reading and writing capture files: every format, every way in which one can be broken."""

from __future__ import annotations

import gzip
import io
import os
import random
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensor.capture.pcapfile import CaptureFile
from sensor.capture.pcapwrite import CaptureWriter, write_pcap
from sensor.capture.sources import open_sources
from sensor.errors import CaptureError, UsageError
from sensor.frames import FILE_SHIFT, LINK_ETHERNET, FrameBatch

T0 = 1_700_000_000


def pcap(
    frames: list[tuple[int, bytes]],
    magic: int = 0xA1B23C4D,
    order: str = "<",
    link: int = 1,
    extra: bytes = b"",
) -> bytes:
    """A pcap with (time in units of the magic, bytes) as frames; ``extra`` ends each record header."""
    unit = 10**9 if magic == 0xA1B23C4D else 10**6
    out = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, link)
    for time, data in frames:
        out += struct.pack(order + "IIII", time // unit, time % unit, len(data), len(data) + 1) + extra + data
    return out


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    length = 12 + len(body)
    return struct.pack(order + "II", kind, length) + body + struct.pack(order + "I", length)


def option(code: int, value: bytes, order: str = "<") -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + b"\0" * (-len(value) % 4)


def section(order: str = "<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(
    link: int = 1, resolution: int = 6, offset: int = 0, snaplen: int = 0, order: str = "<"
) -> bytes:
    options = option(2, b"eth7", order) + option(9, bytes([resolution]), order)
    options += option(14, struct.pack(order + "q", offset), order) + option(0, b"", order)
    return block(1, struct.pack(order + "HHI", link, 0, snaplen) + options, order)


def packet(data: bytes, time: int = 0, which: int = 0, order: str = "<", options: bytes = b"") -> bytes:
    head = struct.pack(order + "IIIII", which, time >> 32, time & 0xFFFFFFFF, len(data), len(data))
    return block(6, head + data + b"\0" * (-len(data) % 4) + options, order)


def statistics(drops: int) -> bytes:
    counts = option(5, struct.pack("<Q", drops)) + option(0, b"")
    return block(5, struct.pack("<III", 0, 0, 0) + counts)


def capture(tmp_path: Path, content: bytes, name: str = "x.cap") -> CaptureFile:
    path = tmp_path / name
    path.write_bytes(content)
    return CaptureFile(path)


def frames_of(file: CaptureFile, **limits: int) -> list[tuple[int, int, int, int, bytes]]:
    """(number, ts, wirelen, link, bytes) of every frame."""
    return [
        (int(b.number[i]), int(b.ts[i]), int(b.wirelen[i]), int(b.link[i]), b.frame(i))
        for b in file.batches(**limits)
        for i in range(len(b))
    ]


def batch_of(frames: list[bytes], links: list[int] | None = None, start: int = T0 * 10**9) -> FrameBatch:
    sizes = np.array([len(f) for f in frames], np.int32)
    return FrameBatch(
        np.frombuffer(b"".join(frames), np.uint8),
        np.concatenate([[0], np.cumsum(sizes[:-1])]).astype(np.int64) if frames else np.zeros(0, np.int64),
        sizes,
        sizes + 2,
        start + np.arange(len(frames), dtype=np.int64) * 1_234_567,
        np.array(links or [1] * len(frames), np.int32),
        np.arange(1, len(frames) + 1, dtype=np.int64),
    )


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "unit"), [(0xA1B2C3D4, 1000), (0xA1B23C4D, 1)])
def test_pcap_in_both_orders_and_resolutions(tmp_path: Path, order: str, magic: int, unit: int) -> None:
    time = T0 * (10**9 // unit) + 123_456
    file = capture(tmp_path, pcap([(time, b"abc"), (time + 1, b"")], magic, order))
    assert frames_of(file) == [(1, time * unit, 4, 1, b"abc"), (2, (time + 1) * unit, 1, 1, b"")]
    assert file.problems == []
    assert file.position == file.size


def test_modified_pcap_has_longer_record_headers(tmp_path: Path) -> None:
    file = capture(tmp_path, pcap([(5, b"abc"), (6, b"de")], 0xA1B2CD34, extra=bytes(8)))
    assert [f[4] for f in frames_of(file)] == [b"abc", b"de"]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("resolution", "raw", "ns"),
    [
        (6, 1_000_001, 1_000_001_000),
        (9, 1_000_000_001, 1_000_000_001),
        (0, 7, 7_000_000_000),
        (12, 2_500_000_000_999, 2_500_000_000),
        (0x80 | 10, 1536, 1_500_000_000),
        (0x80 | 40, 3 << 39, 1_500_000_000),
        (0x80 | 63, 1 << 62, 500_000_000),
    ],
)
def test_pcapng_time_resolutions(tmp_path: Path, order: str, resolution: int, raw: int, ns: int) -> None:
    content = section(order) + interface(1, resolution, 100, order=order) + packet(b"abcde", raw, order=order)
    file = capture(tmp_path, content)
    assert frames_of(file) == [(1, ns + 100 * 10**9, 5, 1, b"abcde")]
    assert file.interfaces[0].name == "eth7"


def test_pcapng_time_beyond_what_int64_holds_is_clamped(tmp_path: Path) -> None:
    file = capture(tmp_path, section() + interface(1, 0) + packet(b"a", (1 << 64) - 1))
    assert 0 < frames_of(file)[0][1] < 1 << 63


def test_pcapng_sections_interfaces_and_block_kinds(tmp_path: Path) -> None:
    simple = block(3, struct.pack("<I", 900) + b"spb!")
    old = block(2, struct.pack("<HHIIII", 1, 3, 0, 9, 2, 2) + b"pb\0\0")
    unknown = block(0x0BAD, b"????" * 5)
    content = (
        section()
        + interface(1, 9, snaplen=3)
        + interface(113, 9)
        + packet(b"one", 8, 1)
        + unknown
        + simple
        + old
    )
    content += section(">") + interface(276, 9, order=">") + packet(b"next", 10, order=">")
    file = capture(tmp_path, content)
    assert [(f[0], f[1], f[3], f[4]) for f in frames_of(file)] == [
        (1, 8, 113, b"one"),
        (2, 8, 1, b"spb"),
        (3, 9, 113, b"pb"),
        (4, 10, 276, b"next"),
    ]
    assert [i.link for i in file.interfaces] == [1, 113, 276]
    assert file.dropped == 3
    assert file.problems == []


def test_pcapng_drop_counts(tmp_path: Path) -> None:
    lost = option(4, struct.pack("<Q", 7)) + option(0, b"")
    content = section() + interface() + packet(b"abc", options=lost)
    file = capture(tmp_path, content)
    frames_of(file)
    assert file.dropped == 7
    file = capture(tmp_path, content + statistics(40))
    frames_of(file)
    assert file.dropped == 40


def test_unknown_block_longer_than_the_buffer_is_skipped(tmp_path: Path) -> None:
    content = section() + interface() + block(0x99, bytes(300_000)) + packet(b"after")
    assert [f[4] for f in frames_of(capture(tmp_path, content), chunk=4096)] == [b"after"]


def test_unsupported_link_type_is_named_once_and_its_frames_are_given(tmp_path: Path) -> None:
    content = section() + interface(147) + interface(1) + packet(b"a") + packet(b"b", 0, 1) + packet(b"c")
    file = capture(tmp_path, content)
    assert [f[3] for f in frames_of(file, max_frames=1)] == [147, 1, 147]
    assert len(file.problems) == 1
    assert "147 (USER0)" in str(file.problems[0])


@pytest.mark.parametrize("limits", [{"max_frames": 1}, {"max_frames": 7}, {"max_bytes": 1}, {"chunk": 600}])
@pytest.mark.parametrize("links", [[1], [1, 113]])
@pytest.mark.parametrize("zipped", [False, True])
def test_batch_limits_change_nothing(
    tmp_path: Path, limits: dict[str, int], links: list[int], zipped: bool
) -> None:
    rnd = random.Random(4)
    frames = [rnd.randbytes(rnd.randrange(300)) for _ in range(100)]
    path = tmp_path / "x"
    write_pcap(path, batch_of(frames, [links[i % len(links)] for i in range(100)]))
    if zipped:
        path.write_bytes(gzip.compress(path.read_bytes()))
    file = CaptureFile(path, index=3)
    whole = frames_of(file)
    assert [f[4] for f in whole] == frames
    assert whole[0][0] == (3 << FILE_SHIFT) + 1
    assert frames_of(file, **limits) == whole
    if "max_frames" in limits:
        assert max(len(b) for b in file.batches(**limits)) == limits["max_frames"]


def test_first_frames_stay_valid_while_reading_on(tmp_path: Path) -> None:
    frames = [bytes([i]) * 200 for i in range(50)]
    path = tmp_path / "x"
    write_pcap(path, batch_of(frames))
    batches = list(CaptureFile(path).batches(chunk=1024))
    assert len(batches) > 5
    assert [b.frame(i) for b in batches for i in range(len(b))] == frames
    assert not batches[0].data.flags.writeable


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"time,src,dst\n1,2,3\n", "text file"),
        (b"\x28\xb5\x2f\xfd" + bytes(30), "zstd"),
        (gzip.compress(b"hello, this is text", mtime=0), "text file"),
        (gzip.compress(b"", mtime=0), "empty"),
        (b"\x1f\x8b\x08", "gzip"),
        (gzip.compress(gzip.compress(b"x" * 99, mtime=0), mtime=0), "gzip file inside"),
        (bytes(range(40)), "not a capture"),
        (pcap([])[:20], "24 are needed"),
        (section()[:20], "cut off"),
        (b"\x0a\x0d\x0d\x0a" + bytes(40), "damaged"),
    ],
)
def test_what_is_no_capture_is_refused_with_words(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "bad.pcap"
    path.write_bytes(content)
    with pytest.raises(CaptureError, match=words) as caught:
        open_sources([str(path)])
    assert caught.value.exit_code == 3
    assert str(path) in str(caught.value)
    assert caught.value.remedy
    file = CaptureFile(path)
    assert list(file.batches()) == []
    assert len(file.problems) == 1


@pytest.mark.parametrize("cut", [1, 3, 10, 16, 19])
def test_truncated_last_packet_keeps_what_came_before(tmp_path: Path, cut: int) -> None:
    content = pcap([(1, b"abcd"), (2, b"efgh")])
    file = capture(tmp_path, content[:-cut])
    assert [f[4] for f in frames_of(file)] == [b"abcd"]
    assert file.problems[0].offset == len(content) - 20
    assert "cut off" in str(file.problems[0])


def test_truncated_pcapng(tmp_path: Path) -> None:
    content = section() + interface() + packet(b"abcd") + packet(b"efgh")
    for cut in range(1, 36):
        file = capture(tmp_path, content[:-cut])
        assert [f[4] for f in frames_of(file)] == [b"abcd"]
        assert [p.offset for p in file.problems] == [len(content) - 36]


def test_truncated_and_damaged_gzip(tmp_path: Path) -> None:
    rnd = random.Random(5)
    frames = [(i, rnd.randbytes(500)) for i in range(400)]
    packed = gzip.compress(pcap(frames))
    file = capture(tmp_path, packed[: len(packed) // 2])
    got = frames_of(file)
    assert 100 < len(got) < 300
    assert [f[4] for f in got] == [data for _, data in frames[: len(got)]]
    assert "gzip stream ends early" in str(file.problems[0])
    file = capture(tmp_path, packed[:-6] + bytes(6))
    assert len(frames_of(file)) >= 399  # zlib keeps the byte before the wrong checksum to itself
    assert "damaged" in str(file.problems[0])


def test_gzip_members_in_a_row_padding_and_rubbish(tmp_path: Path) -> None:
    content = pcap([(1, b"abcd"), (2, b"efgh")])
    parts = gzip.compress(content[:50], mtime=0) + gzip.compress(content[50:], mtime=0)
    for tail, problems in ((b"", 0), (bytes(700_000), 0), (b"rubbish", 1)):
        file = capture(tmp_path, parts + tail)
        assert [f[4] for f in frames_of(file)] == [b"abcd", b"efgh"]
        assert len(file.problems) == problems
        assert file.position == file.size


@pytest.mark.parametrize("claim", [262_145, 0x7FFFFFFF, 0xFFFFFFFF])
def test_absurd_capture_length_stops_with_the_number(tmp_path: Path, claim: int) -> None:
    bad = struct.pack("<IIII", 1, 1, claim, claim)
    file = capture(tmp_path, pcap([(1, b"abcd")]) + bad + bytes(100))
    assert len(frames_of(file)) == 1
    assert str(claim) in str(file.problems[0])
    assert file.problems[0].offset == 44


@pytest.mark.parametrize(
    "bad",
    [
        struct.pack("<II", 6, 0) + bytes(60),
        struct.pack("<II", 0x99, 4) + bytes(60),
        struct.pack("<II", 6, 0x7FFFFFF0) + bytes(60),
        packet(b"abcd")[:-4] + struct.pack("<I", 99),
        packet(b"abcd", which=5),
        block(6, struct.pack("<IIIII", 0, 0, 0, 5000, 5000) + b"abcd"),
        block(3, b""),
        block(1, b"abcd"),
        interface(resolution=100),
        struct.pack("<II", 0x0A0D0D0A, 28) + bytes(20),
    ],
)
def test_lying_blocks_stop_with_a_place(tmp_path: Path, bad: bytes) -> None:
    content = section() + interface() + packet(b"good")
    file = capture(tmp_path, content + bad + packet(b"lost"))
    assert [f[4] for f in frames_of(file)] == [b"good"]
    assert [p.offset for p in file.problems] == [len(content)]


def test_interface_table_is_bounded(tmp_path: Path) -> None:
    file = capture(tmp_path, section() + block(1, struct.pack("<HHI", 1, 0, 0)) * 5000)
    assert frames_of(file) == []
    assert "more than 4096 interfaces" in str(file.problems[0])


@given(
    seed=st.integers(0, 2**32),
    ng=st.booleans(),
    hits=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=8),
    chunk=st.sampled_from([64, 333, 4096]),
)
def test_mutated_captures_never_raise_and_always_end(
    tmp_path_factory: pytest.TempPathFactory, seed: int, ng: bool, hits: list[tuple[int, int]], chunk: int
) -> None:
    rnd = random.Random(seed)
    out = io.BytesIO()
    frames = [rnd.randbytes(rnd.randrange(60)) for _ in range(20)]
    writer = CaptureWriter(out, None if ng else LINK_ETHERNET)
    writer.write(batch_of(frames, [rnd.choice([1, 113]) if ng else 1 for _ in frames]))
    content = bytearray(out.getvalue())
    for at, value in hits:
        content[at % len(content)] = value
    file = capture(tmp_path_factory.mktemp("fuzz"), bytes(content))
    for batch in file.batches(max_frames=5, chunk=chunk):
        assert int(batch.caplen.min()) >= 0
        assert int((batch.offset + batch.caplen).max()) <= len(batch.data)
        assert int(batch.ts.min()) >= 0
    assert len(file.problems) <= 100


@given(
    st.binary(max_size=400),
    st.sampled_from([b"", pcap([]), section(), section(">"), section() + interface()]),
)
def test_noise_behind_any_header_never_raises(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, head: bytes
) -> None:
    file = capture(tmp_path_factory.mktemp("noise"), head + noise)
    assert sum(len(b) for b in file.batches()) <= len(noise) // 16


@pytest.mark.parametrize("nanos", [True, False])
@pytest.mark.parametrize("links", [[1, 1, 1], [1, 113, 1], [113, 1, 276]])
def test_what_is_written_is_read_back(tmp_path: Path, nanos: bool, links: list[int]) -> None:
    batch = batch_of([b"abc", b"", b"defgh"], links)
    path = tmp_path / "x"
    assert write_pcap(path, batch, nanos) == 3
    assert path.stat().st_mode & 0o077 == 0
    unit = 1 if nanos else 1000
    assert frames_of(CaptureFile(path)) == [
        (i + 1, int(batch.ts[i]) // unit * unit, int(batch.wirelen[i]), links[i], batch.frame(i))
        for i in range(3)
    ]


def test_streamed_batches_become_pcapng_with_interfaces_as_they_turn_up(tmp_path: Path) -> None:
    path = tmp_path / "x"
    batches = [batch_of([b"a"], [1]), batch_of([b"b"], [113]), batch_of([b"c"], [1])]
    assert write_pcap(path, iter(batches)) == 3
    file = CaptureFile(path)
    assert [(f[3], f[4]) for f in frames_of(file)] == [(1, b"a"), (113, b"b"), (1, b"c")]
    assert len(file.interfaces) == 2


def test_sources_sort_what_they_find_and_keep_what_was_named(tmp_path: Path) -> None:
    for name, time in (("b.pcap", 30), ("sub/a.pcap", 20), ("c.pcap", 10)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(pcap([(time, b"x")]))
    (tmp_path / "notes.txt").write_text("no capture")
    (tmp_path / "empty.pcap").write_bytes(b"")
    names = [file.path.name for file in open_sources([str(tmp_path)])]
    assert names == ["c.pcap", "a.pcap", "b.pcap"]
    files = open_sources([str(tmp_path / "*.pcap")])
    assert [file.path.name for file in files] == ["c.pcap", "b.pcap"]
    files = open_sources([str(tmp_path / "b.pcap"), str(tmp_path / "c.pcap")])
    assert [(file.path.name, file.index) for file in files] == [("b.pcap", 0), ("c.pcap", 1)]


def test_an_empty_file_among_good_ones_is_noted_and_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.pcap").write_bytes(b"")
    (tmp_path / "b.pcap").write_bytes(pcap([(1, b"x")]))
    files = open_sources([str(tmp_path / "a.pcap"), str(tmp_path / "b.pcap")])
    assert [len(frames_of(file)) for file in files] == [0, 1]
    assert "empty" in str(files[0].problems[0])


def test_names_that_lead_nowhere(tmp_path: Path) -> None:
    for arg, words in (
        (tmp_path / "no.pcap", "no such file"),
        (tmp_path / "*.no", "matches"),
        (tmp_path, "folder"),
    ):
        with pytest.raises(CaptureError, match=words):
            open_sources([str(arg)])
    with pytest.raises(UsageError):
        open_sources([])
    with pytest.raises(UsageError):
        open_sources(["-", "-"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file_says_so(tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(pcap([]))
    path.chmod(0)
    with pytest.raises(CaptureError, match="permission denied"):
        open_sources([str(path)])


def test_pipes_and_standard_input_are_spooled_up_to_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = pcap([(1, b"abcd")])

    class Stdin:
        buffer = io.BytesIO(content)

    monkeypatch.setattr("sys.stdin", Stdin)
    file = open_sources(["-"])[0]
    assert [f[4] for f in frames_of(file)] == [b"abcd"]
    assert file.shown == "standard input"
    assert file.path.stat().st_mode & 0o077 == 0
    Stdin.buffer = io.BytesIO(content)
    with pytest.raises(CaptureError, match="more than 10 bytes"):
        open_sources(["-"], stdin_limit=10)
    reader, writer = os.pipe()
    os.write(writer, content)
    os.close(writer)
    assert len(frames_of(open_sources([f"/dev/fd/{reader}"])[0])) == 1
    os.close(reader)


def test_a_file_that_vanishes_is_a_problem_not_a_crash(tmp_path: Path) -> None:
    file = capture(tmp_path, pcap([(1, b"a")]))
    file.path.unlink()
    assert frames_of(file) == []
    assert "no such file" in str(file.problems[0])


def test_losses_stand_with_the_frame_behind_them_whatever_the_batches(tmp_path: Path) -> None:
    """epb_dropcount counts before its own packet, what statistics blocks add before the next one."""
    content = section() + interface(1, 9)
    content += packet(b"a", 1) + packet(b"b", 2, options=option(4, struct.pack("<Q", 3)))
    content += statistics(drops=5) + packet(b"c", 3) + packet(b"d", 4) + statistics(drops=5)
    content += packet(b"e", 5, options=option(4, struct.pack("<Q", 1))) + statistics(drops=9)
    file = capture(tmp_path, content)
    for limits in ({}, {"max_frames": 1}, {"max_frames": 2}, {"chunk": 1}):
        lost, after = [], 0
        for batch in file.batches(**limits):
            lost += batch.lost.tolist() if batch.lost is not None else [0] * len(batch)
            after += batch.lost_after
        assert (lost, after) == ([0, 3, 2, 0, 1], 3), limits
    assert file.dropped == 9
    assert file.first_time() == 1


def test_a_file_of_statistics_alone_has_a_loss_and_no_frame(tmp_path: Path) -> None:
    file = capture(tmp_path, section() + interface(1, 9) + statistics(drops=1 << 63))
    assert [(len(batch), batch.lost_after) for batch in file.batches()] == [(0, 1 << 40)]

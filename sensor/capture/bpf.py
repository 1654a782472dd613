"""Capture filters: tcpdump's language compiled to a classic BPF program for the kernel.

libpcap compiles (through ctypes, no header needed), for a handle of the interface itself: only then does it
know that the kernel has taken VLAN tags out of the frames, so that ``vlan 5`` finds them. While the interface
is down the loopback's handle does as well, for Ethernet. Without libpcap, ``tcpdump -ddd`` does the same.
Nothing is captured or sent by the handle; it is closed at once.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from typing import Any, Final

from sensor.errors import MissingToolError, UsageError
from sensor.frames import LINK_ETHERNET

SNAPLEN: Final = 262_144
INSTALL: Final = "sudo apt-get install libpcap0.8"
LIBRARIES: Final = ("libpcap.so.0.8", "libpcap.so.1")
LOOPBACK: Final = "lo"
MOST_STEPS: Final = 4096
"""The kernel takes no longer program (BPF_MAXINSNS)."""

_ERROR_BYTES: Final = 256
_UNKNOWN_MASK: Final = 0xFFFFFFFF

Program = tuple[tuple[int, int, int, int], ...]


class _Step(ctypes.Structure):
    """``struct bpf_insn``."""

    _fields_ = (
        ("code", ctypes.c_ushort),
        ("jt", ctypes.c_ubyte),
        ("jf", ctypes.c_ubyte),
        ("k", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    """``struct bpf_program``."""

    _fields_ = (("len", ctypes.c_uint), ("insns", ctypes.POINTER(_Step)))


def compile_filter(text: str, interface: str, link: int = 1) -> Program:
    """A filter as instructions (code, jump if true, jump if false, operand); none for an empty text.

    Parameters
    ----------
    text : str
        As for tcpdump: ``tcp port 2404 or ether proto 0x88b8``.
    interface : str
        Where it will be used.
    link : int
        LINKTYPE_ to assume when the interface cannot be asked.

    Raises
    ------
    UsageError
        libpcap does not understand the text; its own message is given.
    MissingToolError
        There is neither libpcap nor tcpdump.
    """
    if not text.strip():
        return ()
    if "\0" in text:
        raise UsageError("--filter: a NUL character")
    library = _library()
    program = _by_library(library, text, interface, link) if library else _by_tcpdump(text, interface)
    if len(program) > MOST_STEPS:
        raise UsageError(
            f"--filter: {len(program)} instructions, the kernel takes {MOST_STEPS}; make it simpler"
        )
    return program


def _library() -> Any:
    for name in LIBRARIES:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        library.pcap_create.restype = ctypes.c_void_p
        library.pcap_open_dead.restype = ctypes.c_void_p
        library.pcap_geterr.restype = ctypes.c_char_p
        return library
    return None


def _by_library(library: Any, text: str, interface: str, link: int) -> Program:
    live = _handle(library, interface) or (_handle(library, LOOPBACK) if link == LINK_ETHERNET else None)
    handle = ctypes.c_void_p(live or library.pcap_open_dead(link, SNAPLEN))
    program = _Program()
    try:
        mask = ctypes.c_uint32(_UNKNOWN_MASK)
        if library.pcap_compile(handle, ctypes.byref(program), text.encode(), 1, mask):
            reason = library.pcap_geterr(handle).decode("utf-8", "replace")
            raise UsageError(f"--filter {text!r}: {reason}")
        steps = tuple(_plain(program.insns[i]) for i in range(program.len))
        library.pcap_freecode(ctypes.byref(program))
        return steps
    finally:
        library.pcap_close(handle)


def _handle(library: Any, interface: str) -> int | None:
    """An activated handle of the interface; None when it is down or gone."""
    error = ctypes.create_string_buffer(_ERROR_BYTES)
    handle = library.pcap_create(interface.encode(), error)
    if not handle:
        return None
    library.pcap_set_snaplen(ctypes.c_void_p(handle), SNAPLEN)
    library.pcap_set_buffer_size(ctypes.c_void_p(handle), SNAPLEN)
    if library.pcap_activate(ctypes.c_void_p(handle)) < 0:
        library.pcap_close(ctypes.c_void_p(handle))
        return None
    return int(handle)


def _plain(step: _Step) -> tuple[int, int, int, int]:
    return int(step.code), int(step.jt), int(step.jf), int(step.k)


def _by_tcpdump(text: str, interface: str) -> Program:
    path = shutil.which("tcpdump") or shutil.which("tcpdump", path="/usr/sbin:/sbin")
    if path is None:
        raise MissingToolError(f"a capture filter needs libpcap: {INSTALL}")
    command = [path, "-i", interface, "-s", str(SNAPLEN), "-ddd", "--", text]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    if done.returncode:
        raise UsageError(f"--filter {text!r}: {done.stderr.strip().removeprefix('tcpdump: ')}")
    lines = done.stdout.split("\n")[1:]
    steps = [tuple(map(int, line.split())) for line in lines if line]
    return tuple((step[0], step[1], step[2], step[3]) for step in steps)

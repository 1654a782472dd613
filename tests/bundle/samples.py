"""Frames, keys and small disks for the tests of bundles."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sensor.frames import FrameBatch

SECOND = 1_000_000_000


def frames(seconds: list[float], size: int = 100, first: int = 1, lost: int = 0) -> FrameBatch:
    """Frames of so many octets at these times, numbered from ``first``; each octet is the frame's number."""
    count = len(seconds)
    numbers = np.arange(first, first + count, dtype=np.int64)
    data = np.repeat((numbers % 251).astype(np.uint8), size)
    lengths = np.full(count, size, np.int32)
    losses = np.zeros(count, np.int64)
    losses[:1] = lost
    return FrameBatch(
        data,
        np.arange(count, dtype=np.int64) * size,
        lengths,
        lengths,
        np.array([round(at * SECOND) for at in seconds], np.int64),
        np.full(count, 1, np.int32),
        numbers,
        lost=losses,
    )


def key_file(path: Path, openssh: bool = False) -> Path:
    """A fresh Ed25519 key in a file that nobody else may read."""
    kind = serialization.PrivateFormat.OpenSSH if openssh else serialization.PrivateFormat.PKCS8
    key = Ed25519PrivateKey.generate()
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption()))
    path.chmod(0o600)
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    path.with_suffix(".pub").write_bytes(public)
    return path


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    """A file system of its own at ``place``, soon full; skips the test without the right to mount one."""
    place.mkdir()
    call = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    if subprocess.run(call, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False)

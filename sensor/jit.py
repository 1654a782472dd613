"""Compiler flags of every numba kernel, and where their machine code is kept.

Bounds checks stay on: a hostile frame can at worst raise, never read past its buffer. ``fastmath``
stays off: it would let the compiler assume that NaN, our "absent", does not exist.

Machine code is kept in a folder named after the source of all kernels. numba itself looks only at the file
of a function, so that after an update a caller could go on running an old callee, or fail to load.
It is the first folder that can be written, of: ``NUMBA_CACHE_DIR`` (numba's own setting),
``CACHE_DIRECTORY`` (set by systemd), the package's ``__pycache__``, the user's cache, a private
temporary folder.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numba

PACKAGE: Final = Path(__file__).parent
SOURCES: Final = (
    "jit.py",
    "frames.py",
    "names.py",
    "wire/*.py",
    "track/*.py",
    "capture/*.py",
)
KEPT: Final = 3
"""Folders of other versions that stay; the oldest go."""


def fingerprint() -> str:
    """Short name of this version of all kernels, on this Python and numba."""
    digest = hashlib.sha256(f"{platform.python_version()} {numba.__version__}".encode())
    files = [path for pattern in SOURCES for path in sorted(PACKAGE.glob(pattern))]
    for path in [*files, PACKAGE.parent / "grid_profiles" / "vocabulary.py"]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _candidates() -> Iterator[Path]:
    systemd = os.environ.get("CACHE_DIRECTORY", "").partition(":")[0]
    if systemd:
        yield Path(systemd)
    yield PACKAGE / "__pycache__"
    home = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    yield Path(home) / "gridwarden"


def _usable(folder: Path) -> bool:
    """Can files be made here? The folder is made if need be."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def cache_folder() -> Path:
    """Folder of this version's machine code, made if need be."""
    name = f"kernels-{fingerprint()}"
    for root in _candidates():
        if _usable(root / name):
            _tidy(root, name)
            return root / name
    return Path(tempfile.mkdtemp(prefix="gridwarden-kernels-"))


def _tidy(root: Path, current: str) -> None:
    """Forget the machine code of old versions."""
    old = [path for path in root.glob("kernels-*") if path.name != current]
    for path in sorted(old, key=lambda path: path.stat().st_mtime)[:-KEPT]:
        shutil.rmtree(path, ignore_errors=True)


if not os.environ.get("NUMBA_CACHE_DIR"):
    numba.config.CACHE_DIR = str(cache_folder())


def cache_place() -> Path:
    """Where machine code is kept in this run."""
    return Path(numba.config.CACHE_DIR)


def compiled_before() -> bool:
    """Whether the native engine's machine code is kept from an earlier run."""
    return next(cache_place().glob("**/frame.decode_frames-*.nbi"), None) is not None


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function to machine code on first use and keep the result on disk."""
    return _general(numba.njit(cache=True, boundscheck=True, nogil=True, error_model="numpy")(function))


def small(function: Callable[..., Any]) -> Any:
    """A kernel of a few instructions, put into its callers: a call would cost more than what it does."""
    return _general(
        numba.njit(cache=True, boundscheck=True, nogil=True, error_model="numpy", forceinline=True)(function)
    )


def inlined(function: Callable[..., Any]) -> Any:
    """A step on the way from a frame to its decoder: compiled only as a part of its caller.

    numba compiles whatever a function calls together with it, so that each further level would translate all
    decoders once more.
    """
    return numba.njit(boundscheck=True, nogil=True, error_model="numpy", inline="always")(function)


def _general(dispatcher: Any) -> Any:
    """Let a constant argument count as an integer: numba would compile the callee anew for each constant."""
    if numba.config.DISABLE_JIT:
        return dispatcher
    template = dispatcher.get_call_template

    def get_call_template(args: Any, kws: Any) -> Any:
        plain = tuple(numba.types.unliteral(arg) for arg in args)
        return template(plain, {name: numba.types.unliteral(arg) for name, arg in kws.items()})

    dispatcher.get_call_template = get_call_template
    return dispatcher

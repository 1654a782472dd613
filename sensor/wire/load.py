"""What numba's own indexing cannot do: loads of 2, 4 and 8 octets at once, and arrays without an owner.

The loads do not check bounds: ``octets``, which alone uses them, checks once for the whole integer. Only
one-dimensional contiguous arrays of uint8 are taken; for anything else compilation fails.
"""

from __future__ import annotations

import sys
from typing import Any, Final

import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

LITTLE: Final = sys.byteorder == "little"
_WORD: Final = ir.IntType(64)


def _accepts(buf: Any) -> bool:
    return isinstance(buf, types.Array) and buf.ndim == 1 and buf.layout == "C" and buf.dtype == types.uint8


def _emit(context: Any, builder: Any, signature: Any, args: Any, bits: int) -> Any:
    array = context.make_array(signature.args[0])(context, builder, value=args[0])
    pointer = builder.gep(array.data, [args[1]])
    value = builder.load(builder.bitcast(pointer, ir.IntType(bits).as_pointer()), align=1)
    value = builder.bswap(value) if LITTLE else value
    return value if bits == 64 else builder.zext(value, _WORD)


def _loader(bits: int, result: Any) -> Any:
    """A compiled load of so many bits; plain Python where compilation is switched off."""
    if numba.config.DISABLE_JIT:
        return lambda buf, at: _plain(buf, at, bits)

    def load(typing: Any, buf: Any, at: Any) -> Any:
        if not _accepts(buf):
            return None
        return result(buf, types.int64), lambda context, builder, signature, args: _emit(
            context, builder, signature, args, bits
        )

    load.__name__ = f"load{bits}"
    return intrinsic(load)


def _borrow(typing: Any, array: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        made = context.make_array(signature.args[0])(context, builder, value=args[0])
        made.meminfo = made.meminfo.type(None)
        return made._getvalue()

    return array(array), emit


borrow: Final[Any] = (lambda array: array) if numba.config.DISABLE_JIT else intrinsic(_borrow)
"""The same array without an owner. Every call that an owned array is handed to counts its references with two
locked instructions, which costs more than what most decoders do; the caller must keep the owned one."""


def _plain(buf: Any, at: int, bits: int) -> Any:
    value = int.from_bytes(bytes(int(buf[at + i]) for i in range(bits // 8)), "big")
    return np.uint64(value) if bits == 64 else np.int64(value)


load16: Final = _loader(16, types.int64)
load32: Final = _loader(32, types.int64)
load64: Final = _loader(64, types.uint64)

"""The one ``@kernel`` decorator: numba without surprises.

numba's own on-disk cache watches only the file a function stands in, so it keeps serving old code
after a *callee* in another file was edited. Here the cache folder is named by a hash of every
source file that holds a kernel, and lies in a per-user directory that nobody else may write to.
``NUMBA_DISABLE_JIT=1`` leaves the functions as plain Python, which is how coverage is taken.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, overload

import numba
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core import config as _config
from numba.extending import intrinsic

CACHE_LINE = 64  # bytes

P = ParamSpec("P")
R = TypeVar("R")

numba_config: Any = _config

Structured = npt.NDArray[np.void]
"""Array of records."""

Record = Any
"""One row of a :data:`Structured` array: a pointer to the compiler, a view in plain Python."""


@cache
def sources_digest() -> str:
    """Hash of all package sources that hold a kernel, and of the compiler that builds them."""
    digest = hashlib.sha256(f"{numba.__version__} {platform.python_version()}".encode())
    root = Path(__file__).parent
    for path in sorted(root.rglob("*.py")):
        source = path.read_bytes()
        if b"@kernel" in source:
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + source)
    return digest.hexdigest()[:16]


@cache
def cache_folder() -> Path:
    """The folder for compiled kernels: private to this user, made on first use."""
    base = os.environ.get("MTQUANT_CACHE_DIR")
    root = Path(base) if base else Path.home() / ".cache" / "mtquant"
    folder = root / "kernels" / sources_digest()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not os.access(folder, os.W_OK) or _others_may_write(folder):
            raise PermissionError
    except OSError:
        # Read-only homes (containers, services): compile once per process.
        folder = Path(tempfile.mkdtemp(prefix="mtquant-kernels-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _others_may_write(folder: Path) -> bool:
    """Whether somebody else could plant code in the folder; compiled kernels are code."""
    if os.name != "posix":
        return False
    status = folder.stat()
    return status.st_uid != os.getuid() or bool(status.st_mode & 0o022)


@overload
def kernel(function: Callable[P, R], /) -> Callable[P, R]: ...


@overload
def kernel(
    *, allocates: bool = False, rare: bool = False
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


def kernel(
    function: Callable[P, R] | None = None, /, *, allocates: bool = False, rare: bool = False
) -> Callable[P, R] | Callable[[Callable[P, R]], Callable[P, R]]:
    """Compile a function of scalars, records and arrays; no fastmath, so results repeat exactly.

    A plain ``@kernel`` makes no arrays. Without reference counts around every array that it is
    handed it runs three times as fast, and it is inlined into the kernels that call it.

    Args:
        function: Touches nothing global but constants and other kernels.
        allocates: Say ``@kernel(allocates=True)`` for a function that makes or returns arrays.
        rare: Say ``@kernel(rare=True)`` for a function that few bars reach. It is called, not
            inlined: its copies would take long to compile and push others out of the cache.

    Returns:
        The compiled function, or ``function`` itself under ``NUMBA_DISABLE_JIT=1``.
    """
    if function is None:
        return lambda wrapped: _compile(wrapped, allocates, rare)
    return _compile(function, allocates, rare)


def resolved(function: Callable[P, R], *arguments: Any) -> Callable[P, R]:
    """The machine code of a kernel for arguments exactly like these.

    A kernel called the usual way first looks up the type of every argument, which for records takes
    longer than a step of an account. The result does not look: whoever calls it vouches that types,
    dimensions and memory layout are those of ``arguments``.
    """
    if numba_config.DISABLE_JIT:
        return function
    typeof: Any = numba.typeof
    types = tuple(typeof(argument) for argument in arguments)
    dispatcher: Any = function
    dispatcher.compile(types)
    entry: Callable[P, R] = dispatcher.overloads[types].entry_point
    return entry


def _compile(function: Callable[P, R], allocates: bool, rare: bool) -> Callable[P, R]:
    if numba_config.DISABLE_JIT:
        return function
    options: dict[str, Any] = {"cache": True, "error_model": "numpy"}
    if not allocates:
        options |= {"forceinline": not rare, "_nrt": False}
    previous = numba_config.CACHE_DIR
    numba_config.CACHE_DIR = str(cache_folder())
    try:
        compiled: Callable[P, R] = numba.njit(**options)(function)
    finally:
        numba_config.CACHE_DIR = previous
    return compiled


def _prefetch(_context: Any, array: Any, row: Any) -> Any:
    """How numba compiles :func:`prefetch`: LLVM's hint for each cache line of the row."""
    tools: Any = cgutils

    def build(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        made = context.make_array(array)(context, builder, arguments[0])
        width = builder.extract_value(made.strides, 0)
        line = context.get_constant(types.intp, CACHE_LINE)
        offset = builder.mul(context.cast(builder, arguments[1], row, types.intp), width)
        first = builder.gep(builder.bitcast(made.data, cgutils.voidptr_t), [offset])
        flag = ir.IntType(32)
        hint = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, flag, flag, flag])
        function = tools.get_or_insert_function(builder.module, hint, "llvm.prefetch.p0i8")
        reading, often, data = flag(0), flag(3), flag(1)
        lines = builder.sdiv(builder.add(width, builder.sub(line, line.type(1))), line)
        with tools.for_range(builder, lines) as loop:
            at = builder.gep(first, [builder.mul(loop.index, line)])
            builder.call(function, [at, reading, often, data])
        return context.get_dummy_value()

    return types.void(array, row), build


def _look_away(array: npt.NDArray[Any], row: int) -> None:
    """Plain Python has no caches to mind."""


_intrinsic: Any = intrinsic
prefetch: Callable[[npt.NDArray[Any], int], None] = (
    _look_away if numba_config.DISABLE_JIT else _intrinsic(_prefetch)
)
"""Ask the memory for ``array[row]`` before it is needed, inside a kernel; any row may be named."""

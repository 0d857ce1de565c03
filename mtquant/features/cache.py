"""Computed columns on disk: the same bars, code and parameters are computed only once.

What is kept is named by a hash of everything that the numbers depend on, carries a seal over its
content, and is written beside its place and renamed. Whatever is wrong with a file or the folder
therefore costs a computation and nothing else. The files lie in a per-user folder that nobody else
may write to; ``MTQUANT_CACHE_DIR`` moves it and ``MTQUANT_FEATURE_CACHE=0`` does without. Only
whole histories come here: live rows are always computed.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

import numpy as np
from numba.core.registry import cpu_target

from mtquant.features.base import Feature, Params, Picked
from mtquant.features.builtin import FEATURES
from mtquant.features.registry import plugins
from mtquant.jit import numba_config
from mtquant.market.bars import Float
from mtquant.market.panel import Panel

MIN_BARS = 5_000
WORTH_S = 0.2e-6  # per bar; reading and verifying a column takes a tenth of it
LIMIT_BYTES = 2 * 2**30
SEAL_BYTES = 32


def computed(
    panel: Panel, features: Sequence[Feature], params: Sequence[Params]
) -> Iterator[Float]:
    """Columns of each feature over a whole history in turn, read where they are kept.

    Args:
        panel: Closed bars.
        features: What to compute.
        params: What each feature's ``fit`` returned.

    Yields:
        Per feature float64 ``[T, S, k]``, the same bits with and without the cache.
    """
    folder = cache_folder() if len(panel) >= MIN_BARS else None
    if folder is None:
        for feature, fitted in zip(features, params, strict=True):
            yield feature.compute(panel, fitted)
        return
    kept = _Kept(folder, panel)
    for feature, fitted in zip(features, params, strict=True):
        yield kept.columns(feature, fitted)
    if kept.written:
        trim(folder, LIMIT_BYTES)


def cache_folder() -> Path | None:
    """The folder of kept columns, made on first use; None where there can or shall be none."""
    if os.environ.get("MTQUANT_FEATURE_CACHE") == "0":
        return None
    base = os.environ.get("MTQUANT_CACHE_DIR")
    try:
        root = Path(base) if base else Path.home() / ".cache" / "mtquant"
        folder = root / "features"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        status = folder.stat()
    except (OSError, RuntimeError):
        return None
    others = os.name == "posix" and (status.st_uid != os.getuid() or status.st_mode & 0o022)
    return folder if os.access(folder, os.W_OK) and not others else None


def trim(folder: Path, limit_bytes: int) -> None:
    """Remove the files that were used longest ago until the others fit into the limit."""
    found = []
    for path in folder.iterdir():
        with suppress(OSError):  # another process removed it
            status = path.stat()
            found.append((status.st_mtime_ns, path.name, status.st_size))
    excess = sum(size for _, _, size in found) - limit_bytes
    for _, name, size in sorted(found):
        if excess <= 0:
            break
        with suppress(OSError):  # in use, on Windows
            (folder / name).unlink(missing_ok=True)
            excess -= size


@dataclass
class _Kept:
    """The kept columns of one panel.

    Attributes:
        folder: Where they lie.
        panel: Whose columns they are.
        written: Whether the folder has grown.
    """

    folder: Path
    panel: Panel
    written: bool = False

    @cached_property
    def bars_digest(self) -> str:
        """Hash of all that a feature can see: traded bars in order, and context."""
        parts = [[b.fingerprint() for b in bars] for bars in (self.panel.bars, self.panel.context)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def columns(self, feature: Feature, params: Params) -> Float:
        """The feature's columns, read or computed; the latter kept if that was worth it."""
        if isinstance(feature, Picked):
            places = [feature.feature.names.index(name) for name in feature.names]
            return self.columns(feature.feature, params)[:, :, places]
        code = feature_code(feature)
        if code is None:
            return feature.compute(self.panel, params)
        asked = [self.bars_digest, code, feature.key, feature.parameters(), dict(params)]
        try:
            name = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
        except (TypeError, ValueError):  # no JSON values: nothing to know them again by
            return feature.compute(self.panel, params)
        shape = (len(self.panel), len(self.panel.symbols), len(feature.columns))
        found = _read(self.folder / f"{name}.npy", shape)
        if found is not None:
            return found
        began = perf_counter()
        values = feature.compute(self.panel, params)
        dear = perf_counter() - began > WORTH_S * shape[0] * shape[1]
        if dear and values.shape == shape and values.dtype == np.float64:
            _write(self.folder / f"{name}.npy", values)
            self.written = True
        return values


def feature_code(feature: Feature) -> str | None:
    """Hash of the code behind a feature's numbers; None where it cannot be known."""
    kind = type(feature)
    if kind is FEATURES.get(feature.key):
        return _SOURCES + _machine()
    if feature.key in FEATURES or feature.key not in plugins():
        return None
    plugin = plugins()[feature.key]
    own = plugin.code_digest() if kind is plugin.load() else ""
    return _SOURCES + _machine() + own if own else None


def _sources_digest() -> str:
    root = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for path in sorted([root / "jit.py", *root.glob("features/*.py"), *root.glob("market/*.py")]):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(path.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()


#: Taken on import: of the sources that run, not of what they may be edited to while they do.
_SOURCES = _sources_digest()


@cache
def _machine() -> str:
    """Hash of the libraries that compute and of the processor: both may round differently."""
    libraries = [version(name) for name in ("numpy", "numba", "TA-Lib", "tzdata")]
    processor = cpu_target.target_context.codegen().magic_tuple()
    made_by = [sys.version, libraries, processor, bool(numba_config.DISABLE_JIT)]
    return hashlib.sha256(json.dumps(made_by).encode()).hexdigest()


def _read(path: Path, shape: tuple[int, ...]) -> Float | None:
    """The array of a file, or None where there is none that can be trusted."""
    try:
        content = path.read_bytes()
        if _seal(path.name, memoryview(content)[:-SEAL_BYTES]) != content[-SEAL_BYTES:]:
            return None
        values = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
        os.utime(path)  # the order of removal is that of last use
    except (OSError, ValueError):
        return None
    return values if values.shape == shape and values.dtype == np.float64 else None


def _write(path: Path, values: Float) -> None:
    """Put an array and its seal at a path, whole or not at all."""
    body = io.BytesIO()
    np.lib.format.write_array(body, np.ascontiguousarray(values), allow_pickle=False)
    content = body.getvalue()
    temporary: str | None = None
    try:
        handle, temporary = tempfile.mkstemp(prefix=".writing-", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.write(_seal(path.name, content))
        os.replace(temporary, path)
    except OSError:
        if temporary is not None:
            with suppress(OSError):
                os.unlink(temporary)


def _seal(name: str, body: bytes | memoryview) -> bytes:
    """Hash of a file's name and content; ``np.load`` reads past it, it follows the array."""
    digest = hashlib.sha256(name.encode())
    digest.update(body)
    return digest.digest()

"""The store: checked UTC bars, one Parquet file per symbol and timeframe.

History here never changes silently. A later export may extend what is stored at either end; where
the two overlap they must hold the same bars, or the store refuses and names the first difference.
Every file carries the fingerprint of its bars and a seal over its history, and both are verified
whenever it is read. Files are written beside and renamed, so a reader never sees half of one.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mtquant.errors import DataError, shown, unknown
from mtquant.market.bars import Bars
from mtquant.market.clock import readable
from mtquant.market.model import RESERVED
from mtquant.market.raw import COLUMNS
from mtquant.market.timeframe import Timeframe

FORMAT_VERSION = "1"
_SYMBOL = re.compile(r"[A-Z0-9]{2,15}")


@dataclass(frozen=True)
class Source:
    """One import into the store.

    Attributes:
        name: The file it came from.
        clock: By which clock its times were read.
        bars: How many bars it held.
        first: Its first bar, readable, UTC.
        last: Its last bar.
        repairs: Repairs that were asked for.
    """

    name: str
    clock: str
    bars: int
    first: str
    last: str
    repairs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stored:
    """What the store holds of one symbol and timeframe.

    Attributes:
        bars: The whole series.
        fingerprint: Of these bars.
        sources: The imports they came from, oldest first.
    """

    bars: Bars
    fingerprint: str
    sources: tuple[Source, ...]


@dataclass(frozen=True)
class Added:
    """The outcome of an addition.

    Attributes:
        path: The file in the store.
        added: Bars that were not there before.
        replaced: Stored bars that gave way, 0 unless replacing was asked for.
        total: Bars now stored.
        fingerprint: Of the whole series.
    """

    path: Path
    added: int
    replaced: int
    total: int
    fingerprint: str


class Store:
    """Bars on disk, below one folder."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        if self.root.exists() and not self.root.is_dir():
            raise DataError(f"the store '{self.root}' is a file; name a folder with --data-dir")

    def path(self, symbol: str, timeframe: Timeframe) -> Path:
        """Where a series lies.

        Raises:
            DataError: The symbol's name cannot be a file name.
        """
        if not _SYMBOL.fullmatch(symbol) or RESERVED.fullmatch(symbol):
            raise DataError(
                f"symbol '{shown(symbol)}' cannot name a file of the store; use 2-15 capital "
                "letters and digits"
            )
        return self.root / f"{symbol}_{timeframe.name}.parquet"

    def list(self) -> list[tuple[str, Timeframe]]:
        """Symbol and timeframe of each series, sorted; other files are passed over."""
        found = []
        for path in self.root.glob("*.parquet"):
            symbol, _, timeframe = path.stem.rpartition("_")
            if _SYMBOL.fullmatch(symbol) and timeframe in Timeframe.__members__:
                found.append((symbol, Timeframe[timeframe]))
        return sorted(found, key=lambda key: (key[0], key[1].minutes))

    def get(self, symbol: str, timeframe: Timeframe) -> Bars:
        """The stored bars.

        Raises:
            DataError: Nothing is stored under that key, or the file was altered.
        """
        return self.read(symbol, timeframe).bars

    def read(self, symbol: str, timeframe: Timeframe) -> Stored:
        """The stored bars and where they came from; raises as :meth:`get`."""
        path = self.path(symbol, timeframe)
        if not path.is_file():
            known = [f"{name} {frame.name}" for name, frame in self.list()]
            cure = f"(in {self.root}; import a file with: mtquant data import)"
            raise DataError(unknown("bars", f"{symbol} {timeframe.name}", known, cure=cure))
        return _read(path, symbol, timeframe)

    def add(self, bars: Bars, source: Source, *, replace: bool = False) -> Added:
        """Store bars, or extend what is stored by them.

        Args:
            bars: Checked bars.
            source: Where they came from.
            replace: Let these bars take the place of stored ones in their span of time.

        Raises:
            DataError: They differ from stored bars of the same span, or the file was altered.
        """
        path = self.path(bars.symbol, bars.timeframe)
        if not len(bars):
            raise DataError(f"{source.name} holds no bars of {bars.symbol}; nothing was stored")
        merged, added, replaced = bars, len(bars), 0
        sources: tuple[Source, ...] = (source,)
        if path.is_file():
            stored = self.read(bars.symbol, bars.timeframe)
            overlap = stored.bars.between(int(bars.time[0]), int(bars.time[-1]) + 1)
            if not replace:
                _refuse_difference(stored.bars, bars, source.name)
            merged = _joined(stored.bars, bars)
            replaced = len(overlap) if replace else 0
            added = int((~np.isin(bars.time, overlap.time)).sum())
            if merged.fingerprint() == stored.fingerprint:
                return Added(path, 0, 0, len(merged), stored.fingerprint)
            sources = (*stored.sources, source)
        fingerprint = merged.fingerprint()
        _write(path, Stored(merged, fingerprint, sources))
        return Added(path, added, replaced, len(merged), fingerprint)


def _refuse_difference(old: Bars, new: Bars, name: str) -> None:
    """Refuse unless both hold the same bars where their spans overlap."""
    start, end = max(old.time[0], new.time[0]), min(old.time[-1], new.time[-1]) + 1
    ours, theirs = old.between(int(start), int(end)), new.between(int(start), int(end))
    times = np.union1d(ours.time, theirs.time)
    stored, given = np.isin(times, ours.time), np.isin(times, theirs.time)
    differs = ~(stored & given)
    if not differs.any():
        for (_, mine), (_, other) in zip(ours.columns(), theirs.columns(), strict=True):
            differs |= mine != other
    if not differs.any():
        return
    first = int(np.argmax(differs))
    what = "differs from the stored one"
    if not (stored[first] and given[first]):
        what = "is stored but not in the file" if stored[first] else "is not stored, its span is"
    raise DataError(
        f"{name}: the {new.symbol} {new.timeframe.name} bar of {readable(times[first])}Z {what}; "
        "use --replace to rewrite that span of the stored history"
    )


def _joined(old: Bars, new: Bars) -> Bars:
    """Old bars before and after the span of the new ones, which come in between."""
    parts = (old.between(None, int(new.time[0])), new, old.between(int(new.time[-1]) + 1, None))
    columns = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name, _ in new.columns()
    }
    return Bars(new.symbol, new.timeframe, **columns)


def _seal(fingerprint: str, sources: str) -> str:
    return hashlib.sha256(f"{FORMAT_VERSION} {fingerprint} {sources}".encode()).hexdigest()


def _write(path: Path, stored: Stored) -> None:
    sources = json.dumps([asdict(source) for source in stored.sources], sort_keys=True)
    columns = {name: pa.array(column) for name, column in stored.bars.columns()}
    columns["time"] = columns["time"].cast(pa.timestamp("ns", tz="UTC"))
    table = pa.table(columns).replace_schema_metadata(
        {
            "mtquant.version": FORMAT_VERSION,
            "mtquant.symbol": stored.bars.symbol,
            "mtquant.timeframe": stored.bars.timeframe.name,
            "mtquant.fingerprint": stored.fingerprint,
            "mtquant.sources": sources,
            "mtquant.seal": _seal(stored.fingerprint, sources),
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        pq.write_table(table, beside, compression="zstd")
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _read(path: Path, symbol: str, timeframe: Timeframe) -> Stored:
    altered = f"{path} was altered or damaged after it was stored; delete it and import again"
    try:
        table = pq.read_table(pa.BufferReader(path.read_bytes()), use_threads=False)
        meta = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()}
        version = meta["mtquant.version"]
        if version != FORMAT_VERSION:
            raise DataError(
                f"{path} has store format {version}, not {FORMAT_VERSION}; import the file again"
            )
        columns = {name: table[name] for name in COLUMNS}
        columns["time"] = columns["time"].cast(pa.int64())
        bars = Bars(symbol, timeframe, **{n: column.to_numpy() for n, column in columns.items()})
        fingerprint, record = bars.fingerprint(), meta["mtquant.sources"]
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise DataError(f"{altered} ({type(error).__name__})") from None
    if _seal(fingerprint, record) != meta.get("mtquant.seal"):
        raise DataError(altered)
    sources = json.loads(record)
    return Stored(
        bars,
        fingerprint,
        tuple(Source(**{**entry, "repairs": tuple(entry["repairs"])}) for entry in sources),
    )

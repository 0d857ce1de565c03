"""A file on its way in: read, repaired as told, checked, and only then stored.

The same steps serve ``mtquant data import``, ``mtquant.train --data`` and ``read_bars``, so a file
that one of them refuses is refused by all.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mtquant.market.bars import Bars
from mtquant.market.clock import Clock
from mtquant.market.quality import check, refuse_errors
from mtquant.market.raw import Finding, RawBars
from mtquant.market.repairs import Repairs, repair
from mtquant.market.source import FileSource
from mtquant.market.store import Added, Source, Store
from mtquant.market.symbols import SymbolSpec
from mtquant.market.timeframe import Timeframe

NO_REPAIRS = Repairs()


@dataclass(frozen=True)
class Examined:
    """A file that was read and checked, good or not.

    Attributes:
        raw: Its bars after the repairs.
        findings: What was found, errors first.
        repairs: The repairs that were asked for.
    """

    raw: RawBars
    findings: tuple[Finding, ...]
    repairs: Repairs

    def accept(self) -> Bars:
        """The bars.

        Raises:
            DataError: A finding is an error.
        """
        refuse_errors(self.findings)
        return self.raw.to_bars()


@dataclass(frozen=True)
class ImportResult:
    """A finished import.

    Attributes:
        bars: The bars of the file.
        findings: What was found, errors first (there are none).
        clock: By which the times were read.
        layout: Whose layout the file has.
        added: What the store did with the bars.
    """

    bars: Bars
    findings: tuple[Finding, ...]
    clock: Clock
    layout: str
    added: Added

    @property
    def timeframe(self) -> Timeframe:
        """The bars' length, as stated or inferred."""
        return self.bars.timeframe


def examine_file(
    path: Path | str,
    spec: SymbolSpec,
    *,
    timeframe: Timeframe | None = None,
    clock: Clock | None = None,
    repairs: Repairs = NO_REPAIRS,
    now_ns: int | None = None,
) -> Examined:
    """Read, repair and check a file without judging it.

    Args:
        path: The file.
        spec: Whose bars they are.
        timeframe: Their length, inferred if None.
        clock: The clock of their times, where the file does not state it.
        repairs: What may be repaired.
        now_ns: The present, ns UTC, to tell an unfinished last bar; None leaves that out.

    Raises:
        UnknownClock: The file does not state its clock and ``clock`` is None.
        DataError: The file cannot be understood, or nothing is left of it.
    """
    source = FileSource(Path(path), clock, drop_ambiguous=repairs.drop_ambiguous)
    return examine(source.fetch(spec, timeframe), spec, repairs=repairs, now_ns=now_ns)


def examine(
    raw: RawBars, spec: SymbolSpec, *, repairs: Repairs = NO_REPAIRS, now_ns: int | None = None
) -> Examined:
    """Repair and check bars of any source without judging them; as :func:`examine_file`."""
    raw = repair(raw, repairs, now_ns)
    return Examined(raw, tuple(check(raw, spec, now_ns)), repairs)


def load_file(
    path: Path | str,
    spec: SymbolSpec,
    *,
    timeframe: Timeframe | None = None,
    clock: Clock | None = None,
    repairs: Repairs = NO_REPAIRS,
    now_ns: int | None = None,
) -> Bars:
    """The checked bars of a file, without a store; arguments and errors as :func:`examine_file`.

    Raises:
        DataError: A finding is an error.
    """
    return examine_file(
        path, spec, timeframe=timeframe, clock=clock, repairs=repairs, now_ns=now_ns
    ).accept()


def import_file(
    path: Path | str,
    spec: SymbolSpec,
    store: Store,
    *,
    timeframe: Timeframe | None = None,
    clock: Clock | None = None,
    repairs: Repairs = NO_REPAIRS,
    now_ns: int | None = None,
    replace: bool = False,
) -> ImportResult:
    """Read, check and store a file; the other arguments as :func:`examine_file`.

    Args:
        path: The file.
        spec: Whose bars they are.
        store: Where they go.
        timeframe: See :func:`examine_file`.
        clock: See :func:`examine_file`.
        repairs: See :func:`examine_file`.
        now_ns: See :func:`examine_file`.
        replace: Let the file's bars take the place of stored ones in their span of time.

    Raises:
        DataError: The file is refused, or contradicts what is stored.
    """
    examined = examine_file(
        path, spec, timeframe=timeframe, clock=clock, repairs=repairs, now_ns=now_ns
    )
    return store_examined(examined, store, replace=replace)


def store_examined(examined: Examined, store: Store, *, replace: bool = False) -> ImportResult:
    """Store a file that was examined.

    Raises:
        DataError: A finding is an error, or the bars contradict what is stored.
    """
    bars, raw = examined.accept(), examined.raw
    source = Source(
        raw.origin.name,
        raw.clock.name,
        len(bars),
        bars.when(0),
        bars.when(-1),
        examined.repairs.chosen,
    )
    added = store.add(bars, source, replace=replace)
    return ImportResult(bars, examined.findings, raw.clock, raw.layout, added)

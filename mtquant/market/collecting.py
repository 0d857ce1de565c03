"""Collecting: bars of a source into the store, and what is stored continued.

What is continued is read again from some bars before its end: were a broker to revise its history,
the two would not fit, and the store refuses to mix them until it is told to.
"""

from __future__ import annotations

from mtquant.errors import DataError
from mtquant.market.clock import utc_text
from mtquant.market.importing import Examined, examine
from mtquant.market.source import BarSource
from mtquant.market.store import Store
from mtquant.market.symbols import SymbolSpec
from mtquant.market.timeframe import Timeframe

OVERLAP_BARS = 100


def examine_span(
    source: BarSource,
    spec: SymbolSpec,
    timeframe: Timeframe,
    start_ns: int,
    end_ns: int | None,
    now_ns: int,
) -> Examined:
    """Bars of a source that open in ``[start_ns, end_ns)``, checked and not judged.

    Args:
        source: Where they come from.
        spec: Whose bars they are.
        timeframe: Their length.
        start_ns: Begin, ns UTC.
        end_ns: End; None takes all bars that are closed now.
        now_ns: The present, ns UTC.
    """
    # The end is fixed before the pages are read: bars that close meanwhile are for the next time.
    newest = source.latest(spec, timeframe) + 1
    end_ns = newest if end_ns is None else min(end_ns, newest)
    if start_ns >= end_ns:
        raise DataError(
            f"the newest closed {timeframe.name} bar of {spec.name} opened at "
            f"{utc_text(end_ns - 1)}, before {utc_text(start_ns)}; begin earlier"
        )
    return examine(source.fetch(spec, timeframe, start_ns, end_ns), spec, now_ns=now_ns)


def examine_news(
    source: BarSource, spec: SymbolSpec, timeframe: Timeframe, store: Store, now_ns: int
) -> Examined:
    """The bars since what is stored ends, and the last stored ones again.

    Raises:
        DataError: Nothing is stored, or the source no longer reaches back to its end.
    """
    stored = store.get(spec.name, timeframe)
    start = int(stored.time[-min(OVERLAP_BARS, len(stored))])
    examined = examine_span(source, spec, timeframe, start, None, now_ns)
    first = int(examined.raw.time[0])
    if first != start:
        raise DataError(
            f"{examined.raw.origin.name}: its first bar opens at {utc_text(first)} and not at "
            f"{utc_text(start)} like the stored {spec.name} {timeframe.name} bar; its history is "
            "another or too short: fetch a longer span with --replace"
        )
    return examined

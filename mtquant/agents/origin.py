"""The bars a bundle was trained and tested on, found again by fingerprint or made again by seed."""

from __future__ import annotations

from pathlib import Path

from mtquant.agents.bundle import Bundle
from mtquant.config.data import DATA_DIR, MarketData, regenerate, with_context
from mtquant.errors import DataError
from mtquant.market.panel import Panel
from mtquant.market.store import Store
from mtquant.market.timeframe import Timeframe


def market_of(bundle: Bundle, data_dir: Path = DATA_DIR) -> MarketData:
    """The bundle's whole history.

    Later exports may have been appended to the store; only the span that the bundle saw counts.

    Raises:
        DataError: The store no longer holds those bars.
    """
    record = bundle.manifest.data
    if record.simulated_seed is not None:
        panel = regenerate(record.generator, bundle.specs, bundle.context_specs)
    else:
        panel = _stored_panel(bundle, data_dir)
    market = MarketData(
        panel,
        bundle.specs,
        record.source,
        record.simulated_seed,
        dict(record.generator),
        bundle.context_specs,
    )
    if market.fingerprints != record.fingerprints:
        raise DataError(
            f"{record.source} no longer holds the bars that bundle '{bundle.name}' was trained on "
            f"(fingerprint {record.fingerprints[0][:12]}); import them again or give --data FILE"
        )
    return market


def _stored_panel(bundle: Bundle, data_dir: Path) -> Panel:
    store, timeframe = Store(data_dir), Timeframe.parse(bundle.env.timeframe)
    first, last = bundle.manifest.data.splits["history"]
    stored = [store.get(spec.name, timeframe).between(None, last + 1) for spec in bundle.specs]
    context = [store.get(spec.name, timeframe) for spec in bundle.context_specs]
    return with_context([bars.between(first) for bars in stored], context)


def split_times(bundle: Bundle, split: str) -> tuple[int, int]:
    """Opens of the first and last bar of a split, ns UTC."""
    return bundle.manifest.data.splits[split]

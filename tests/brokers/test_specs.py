"""Our contract beside the broker's: each field by its name, each mode or a refusal."""

from __future__ import annotations

from typing import Any

import pytest

from mtquant.brokers import constants as mt5
from mtquant.brokers.specs import (
    CONTRACT_FIELDS,
    LIVE_FIELDS,
    TERMS_FIELDS,
    differences,
    live_spec,
    refuse_other_contract,
)
from mtquant.brokers.terminal.symbols import SymbolFeed
from mtquant.config.load import load_symbols
from mtquant.errors import ConfigError, DataError
from mtquant.market.bars import Bars
from mtquant.market.symbols import SymbolSpec


def info_of(spec: SymbolSpec, bars: Bars, **changes: Any) -> Any:
    """``symbol_info`` as the simulated terminal shows it, with some fields changed."""
    shown = SymbolFeed(bars, spec, "X").info(0, 1.0, 1.1, mt5.SYMBOL_TRADE_MODE_FULL)
    return type(shown).of(**{**shown._asdict(), **changes})


@pytest.mark.parametrize("name", load_symbols().names)
def test_a_terminal_with_our_contract_shows_no_difference(name, gold_bars):
    spec = load_symbols()[name]
    live = live_spec(info_of(spec, gold_bars[:2]), spec)
    assert live == spec and differences(spec, live) == ()


SHOWN: list[tuple[str, dict[str, Any], Any]] = [
    ("base", {"currency_base": "USD"}, "USD"),
    ("quote", {"currency_profit": "EUR"}, "EUR"),
    ("contract_size", {"trade_contract_size": 10.0}, 10.0),
    ("tick_size", {"trade_tick_size": 0.05}, 0.05),
    ("digits", {"digits": 3}, 3),
    ("lot_min", {"volume_min": 0.1}, 0.1),
    ("lot_step", {"volume_step": 0.001}, 0.001),
    ("lot_max", {"volume_max": 20.0}, 20.0),
    ("volume_limit", {"volume_limit": 15.0}, 15.0),
    ("margin_mode", {"trade_calc_mode": mt5.SYMBOL_CALC_MODE_CFD}, "cfd"),
    ("swap_mode", {"swap_mode": mt5.SYMBOL_SWAP_MODE_INTEREST_OPEN}, "percent"),
    ("swap_long", {"swap_long": -40.5}, -40.5),
    ("swap_short", {"swap_short": 1.0}, 1.0),
    ("swap_triple_day", {"swap_rollover3days": 5}, "fri"),
    ("stops_level_points", {"trade_stops_level": 20}, 20.0),
    ("freeze_level_points", {"trade_freeze_level": 5}, 5.0),
]


@pytest.mark.parametrize(("field", "changes", "value"), SHOWN, ids=[row[0] for row in SHOWN])
def test_each_field_of_another_contract_is_named_alone(field, changes, value, gold_bars):
    """D2: a contract field refuses by its name, a term is shown and trades."""
    ours = load_symbols()["XAUUSD"]
    live = live_spec(info_of(ours, gold_bars[:2], **changes), ours)
    (found,) = differences(ours, live)
    assert (found.field, found.theirs) == (field, value)
    if field in CONTRACT_FIELDS:
        with pytest.raises(ConfigError) as refused:
            refuse_other_contract(ours, live)
        shown = f"{value:g}" if isinstance(value, float) else value
        assert f"{field} is {shown}" in str(refused.value) and "XAUUSD" in str(refused.value)
        assert sum(f"{name} is " in str(refused.value) for name in LIVE_FIELDS) == 1
    else:
        assert field in TERMS_FIELDS
        assert refuse_other_contract(ours, live) == (found,)


def test_every_compared_field_was_tried():
    assert sorted(row[0] for row in SHOWN) == sorted(LIVE_FIELDS)


def test_several_fields_are_all_named(gold_bars):
    ours = load_symbols()["XAUUSD"]
    info = info_of(ours, gold_bars[:2], digits=3, trade_contract_size=1.0)
    with pytest.raises(ConfigError, match=r"contract_size is 1 and not 100, digits is 3 and not 2"):
        refuse_other_contract(ours, live_spec(info, ours))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"trade_calc_mode": 34}, "margin mode 34"),
        ({"swap_mode": 7}, "swap mode 7"),
        ({"swap_rollover3days": 9}, "day of three swaps is 9"),
        ({"volume_step": 0.0}, "lot_step"),
        ({"volume_min": float("nan")}, "lot_min"),
        ({"trade_contract_size": 0.0}, "contract_size"),
        ({"volume_min": 0.015}, "no multiple of lot_step"),
        ({"volume_limit": 0.001}, "volume_limit 0.001 is below lot_min"),
        ({"volume_limit": float("nan")}, "volume_limit"),
        ({"currency_profit": "usd"}, "quote"),
        ({"digits": 11}, "digits"),
    ],
    ids=str,
)
def test_what_cannot_be_computed_is_refused(changes, told, gold_bars):
    ours = load_symbols()["XAUUSD"]
    with pytest.raises(DataError, match=told):
        live_spec(info_of(ours, gold_bars[:2], **changes), ours)


def test_a_limit_of_zero_lots_is_none(gold_bars):
    """In both directions: what the terminal has dropped, and what it shows of ours."""
    ours = load_symbols()["XAUUSD"].model_copy(update={"volume_limit": 15.0})
    info = info_of(ours, gold_bars[:2])
    assert info.volume_limit == 15.0 and live_spec(info, ours) == ours
    (found,) = differences(ours, live_spec(info_of(ours, gold_bars[:2], volume_limit=0.0), ours))
    assert str(found) == "volume_limit is none and not 15"


def test_a_tick_size_of_zero_is_the_point(gold_bars):
    ours = load_symbols()["XAUUSD"]
    assert live_spec(info_of(ours, gold_bars[:2], trade_tick_size=0.0), ours) == ours


def test_the_base_of_an_index_or_coin_is_not_compared(gold_bars):
    for name in ("US500", "BTCUSD"):
        ours = load_symbols()[name]
        info = info_of(ours, gold_bars[:2], currency_base="USD", swap_rollover3days=5)
        assert differences(ours, live_spec(info, ours)) == ()


def test_where_weekends_book_themselves_no_day_counts_three(gold_bars):
    ours = load_symbols()["BTCUSD"]
    assert ours.swap_weekend and ours.swap_triple_day is None
    for day in (0, 3):
        assert live_spec(info_of(ours, gold_bars[:2], swap_rollover3days=day), ours) == ours

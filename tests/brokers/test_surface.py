"""The simulated terminal has the module's whole surface and nothing beside it.

``module_surface.json`` holds functions, constants, result types and array layouts of the
MetaTrader5 package 5.0.6231, read from its wheel and its documentation.
"""

from __future__ import annotations

import copy
import inspect
import json
import pickle
import re
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mtquant.brokers import constants as mt5
from mtquant.brokers.terminal.records import RATES, TICKS, StructSequence
from mtquant.brokers.terminal.requests import epoch_seconds, in_group
from mtquant.brokers.terminal.simulated import SimulatedTerminal

SURFACE = json.loads(Path(__file__).with_name("module_surface.json").read_text())
FUNCTIONS, TUPLES = SURFACE["functions"], SURFACE["tuples"]
OWN = {"account", "advance", "finished", "now_ns"}
H1 = mt5.TIMEFRAME_H1


def parameters(signature):
    """Names before and after the star of a written signature; of several, all names."""
    named = [
        (name, "*," in text[: text.index(name)])
        for text in signature.split(" | ")
        for name in re.findall(r"(\w+)(?==|,|\))", text[text.index("(") :].replace("=None", ""))
        if not name.isdigit() and name not in ("True", "False")
    ]
    return dict(named)


def test_every_function_is_there_and_no_other():
    public = {name for name in dir(SimulatedTerminal) if not name.startswith("_")} - OWN
    assert public == set(FUNCTIONS) and len(public) == 35


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_take_what_the_modules_take(name):
    wanted = parameters(FUNCTIONS[name]["signature"])
    calling = FUNCTIONS[name]["calling"]
    function = inspect.unwrap(getattr(SimulatedTerminal, name))
    given = list(inspect.signature(function).parameters.values())[1:]
    if name in ("order_send", "order_check"):
        assert [p.kind.name for p in given] == ["VAR_POSITIONAL", "VAR_KEYWORD"] and wanted
        return
    named = [p for p in given if p.kind is not p.VAR_POSITIONAL]
    dates = (
        {"date_from", "date_to"} if name in ("history_deals_get", "history_orders_get") else set()
    )
    assert {p.name for p in named} | dates == set(wanted)
    if "positional-only" in calling:
        assert all(p.kind is p.POSITIONAL_ONLY for p in named)
    for p in named:
        if wanted[p.name]:
            assert p.kind is p.KEYWORD_ONLY
    assert bool(named) != calling.startswith("no arguments")


def test_every_constant_is_there_and_no_other(terminal):
    for name, value in SURFACE["constants"].items():
        assert getattr(terminal, name) == value == getattr(mt5, name)
    assert len(SURFACE["constants"]) == 223
    ours = {name for name in vars(mt5) if name.isupper()} - {"ABSENT"}
    assert ours == set(SURFACE["constants"]) | set(SURFACE["absent"])
    assert mt5.ABSENT == set(SURFACE["absent"])
    for name, value in SURFACE["absent"].items():
        assert getattr(mt5, name) == value
        with pytest.raises(AttributeError):
            getattr(terminal, name)


@pytest.mark.parametrize("name", TUPLES)
def test_result_types(terminal, name):
    kind = getattr(terminal, name)
    blank = kind.of()
    assert list(blank._asdict()) == TUPLES[name]
    assert blank.n_fields == blank.n_sequence_fields == len(blank) == len(TUPLES[name])
    assert (blank.n_unnamed_fields, kind.__module__) == (0, "builtins")
    assert kind(range(len(blank)))[-1] == len(blank) - 1
    with pytest.raises(TypeError, match="sequence given"):
        kind([1])
    for absent in ("_fields", "_replace", "_make"):
        assert not hasattr(blank, absent)
    for spread in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot pickle"):
            spread(blank)
    assert repr(blank).startswith(f"{name}({TUPLES[name][0]}=")
    assert {t.__name__ for t in StructSequence.__subclasses__()} == set(TUPLES)


def test_array_layouts():
    assert [list(field) for field in RATES.descr] == SURFACE["rates_dtype"]
    assert [list(field) for field in TICKS.descr] == SURFACE["ticks_dtype"]


def test_fields_have_the_modules_types(terminal):
    request = {"action": 1, "symbol": "TOY.x", "volume": 0.1, "type": 0}
    answers = [
        terminal.order_check(request),
        terminal.order_send(request | {"volume": 0.0}),
        terminal.order_send(request),
        terminal.symbol_info_tick("TOY.x"),
    ]
    for answer in answers:
        types = SURFACE["tuple_field_types"][type(answer).__name__]
        for field, shown in types.items():
            value = getattr(answer, field)
            assert type(value).__name__ == shown.split()[0], (answer, field)
    found = [terminal.positions_get()[0], terminal.account.deals[-1], terminal.account.orders[-1]]
    found += [terminal.account_info(), terminal.symbol_info("TOY.x"), terminal.terminal_info()]
    for entry in found:
        for field, blank in type(entry).of()._asdict().items():
            assert type(getattr(entry, field)) is type(blank), (entry, field)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda t: t.positions_get("TOY.x"), "Unnamed arguments not allowed"),
        (lambda t: t.orders_get("TOY.x"), "Unnamed arguments not allowed"),
        (lambda t: t.positions_get(ticket=np.int64(1)), 'Invalid "ticket" argument'),
        (lambda t: t.positions_get(symbol=b"TOY.x"), 'Invalid "symbol" argument'),
        (lambda t: t.orders_get(group=5), 'Invalid "group" argument'),
        (lambda t: t.history_deals_get(0, 1, group=5), 'Invalid "group" argument'),
        (lambda t: t.history_orders_get(position="5"), 'Invalid "ticket" argument'),
        (lambda t: t.symbols_get(group=5), 'Invalid "group" argument'),
        (lambda t: t.symbol_select("TOY.x", "yes"), 'Invalid "enable" argument'),
        (lambda t: t.order_send(), "Invalid number of arguments"),
        (lambda t: t.order_send(request={}), "Unnamed arguments not allowed"),
        (lambda t: t.copy_rates_from_pos("TOY.x", H1, np.int64(0), 1), "Invalid arguments"),
        (lambda t: t.copy_rates_from_pos("TOY.x", H1, 0, -1), "Invalid arguments"),
        (lambda t: t.copy_rates_from_pos("TOY.x", np.int64(H1), 0, 1), "Invalid arguments"),
        (lambda t: t.copy_ticks_from("TOY.x", 0, 1, 4), "Invalid arguments"),
        (lambda t: t.copy_ticks_from("TOY.x", float("inf"), 1, -1), "Invalid arguments"),
        (lambda t: t.initialize(login="5"), 'Invalid "login" argument'),
        (lambda t: t.initialize(5), 'Invalid "path" argument'),
        (lambda t: t.login(1, server=5), 'Invalid "server" argument'),
    ],
)
def test_wrong_arguments_are_refused_as_the_module_does(terminal, call, text):
    assert not call(terminal)
    assert terminal.last_error() == (mt5.RES_E_INVALID_PARAMS, text)


def test_positional_functions_refuse_names(terminal):
    for call in (
        lambda: terminal.symbol_info(symbol="TOY.x"),
        lambda: terminal.copy_ticks_from(symbol="TOY.x", date_from=0, count=1, flags=-1),
        lambda: terminal.order_calc_margin(action=0, symbol="TOY.x", volume=1.0, price=1.0),
        lambda: terminal.history_deals_total(date_from=0, date_to=1),
        lambda: terminal.account_info(1),
    ):
        with pytest.raises(TypeError):
            call()


def test_last_error_is_one_slot(terminal):
    assert terminal.symbol_info("nothing") is None
    assert terminal.last_error() == terminal.last_error() == (-4, "Terminal: Not found")
    terminal.account_info()
    assert terminal.last_error() == (1, "Success")


@pytest.mark.parametrize(
    ("moment", "seconds"),
    [
        (5, 5),
        (5.9, 5),
        (np.float64(7.0), 7),
        (True, 1),
        (datetime(2024, 1, 2, tzinfo=UTC), 1_704_153_600),
        (pd.Timestamp("2024-01-02", tz="UTC"), 1_704_153_600),
        (2**31, -(2**31)),
        (datetime(2040, 1, 1, tzinfo=UTC), 2_208_988_800 - 2**32),
    ],
)
def test_dates_are_seconds_of_32_bits(moment, seconds):
    assert epoch_seconds(moment) == seconds


def test_a_naive_datetime_is_local(monkeypatch):
    naive = datetime(2024, 1, 2, 3)
    assert epoch_seconds(naive) == int(naive.timestamp())


@pytest.mark.parametrize("moment", [date(2024, 1, 2), np.datetime64("2024-01-02"), "2024-01-02"])
def test_other_dates_are_refused(terminal, moment):
    assert terminal.copy_ticks_range("TOY.x", moment, 2**31 - 1, -1) is None
    assert terminal.last_error()[0] == -2


@pytest.mark.parametrize(
    ("group", "names"),
    [
        (None, "EURUSD GBPUSD XAUUSD US500 EU.R"),
        ("*", "EURUSD GBPUSD XAUUSD US500 EU.R"),
        ("*USD", "EURUSD GBPUSD XAUUSD"),
        ("*USD*,!EUR*", "GBPUSD XAUUSD"),
        ("!*USD*", ""),
        ("*,!*USD*", "US500 EU.R"),
        ("!*USD*,*", "EURUSD GBPUSD XAUUSD US500 EU.R"),
        ("EU.R", "EU.R"),
        ("EU?USD", ""),
        ("", ""),
    ],
)
def test_groups(group, names):
    given = "EURUSD GBPUSD XAUUSD US500 EU.R".split()
    assert " ".join(name for name in given if in_group(name, group)) == names


def test_ticks_are_the_opens_of_bars(terminal):
    bars = terminal.copy_rates_from_pos("TOY.x", H1, 0, 9)
    ticks = terminal.copy_ticks_range("TOY.x", 0, 2**31 - 1, mt5.COPY_TICKS_ALL)
    assert ticks.dtype == TICKS and list(ticks["time"]) == list(bars["time"])
    newest = terminal.symbol_info_tick("TOY.x")
    assert tuple(ticks[-1].tolist()) == tuple(newest)
    terminal.advance()
    after = terminal.copy_ticks_from("TOY.x", int(bars["time"][-1]), 5, mt5.COPY_TICKS_INFO)
    assert list(after["bid"]) == [101.0, 102.0] and list(after["ask"]) == [101.1, 102.1]
    assert list(after["time_msc"]) == [int(t) * 1000 for t in after["time"]]
    assert terminal.copy_ticks_from("TOY.x", 0, 1, mt5.COPY_TICKS_ALL)["bid"] == [100.0]
    assert terminal.copy_ticks_from("TOY.x", 0, 9, mt5.COPY_TICKS_TRADE).size == 0
    assert terminal.copy_ticks_from("TOY", 0, 9, mt5.COPY_TICKS_ALL) is None


def test_there_is_no_depth_of_market(terminal):
    assert terminal.market_book_get("TOY.x") is None
    assert terminal.market_book_release("TOY.x") is False
    assert terminal.market_book_add("TOY.x") is True
    assert terminal.market_book_get("TOY.x") == ()
    assert terminal.market_book_release("TOY.x") is True
    assert terminal.market_book_add("TOY") is False


def test_the_modules_own_helpers(terminal, monkeypatch):
    bought = terminal.Buy("TOY.x", 0.2, comment="c")
    assert (bought.retcode, bought.request.deviation, bought.request.magic) == (10009, 10, 0)
    assert terminal.Sell("TOY.x", 0.1, 90.0, ticket=bought.order).request.price == 90.0
    assert terminal.positions_get()[0].volume == 0.1
    assert terminal.Close("TOY.x") is True and terminal.Close("TOY.x") is False
    assert terminal.Buy("TOY", 0.1) is None
    sends = []

    def requoted(request):
        sends.append(request)
        return type(bought).of(retcode=mt5.TRADE_RETCODE_REQUOTE)

    monkeypatch.setattr(terminal, "order_send", requoted)
    assert terminal.Sell("TOY.x", 0.1).retcode == mt5.TRADE_RETCODE_REQUOTE
    assert len(sends) == 10 and terminal.Buy("TOY.x", 0.1, 100.0) and len(sends) == 11


@pytest.mark.parametrize(
    ("clock", "before", "after"),
    [("utc", 0, 0), ("utc+3", 3, 3), ("eet", 2, 3), ("ny+7", 3, 3)],
)
def test_all_times_are_the_servers_wall_clock(make, clock, before, after):
    # Europe changes on 31 March 2024 at 01:00 UTC, New York has on the 10th.
    terminal = make([100.0, 101.0, 102.0, 103.0], clock=clock, start="2024-03-30T23:00")
    terminal.initialize()
    for hours in (before, after):
        terminal.order_send({"action": 1, "symbol": "TOY.x", "volume": 0.1, "type": 0})
        utc = terminal.now_ns() // 10**9
        shown = (
            terminal.symbol_info_tick("TOY.x").time,
            terminal.symbol_info("TOY.x").time,
            terminal.account.deals[-1].time,
            terminal.account.orders[-1].time_done,
            int(terminal.copy_rates_from_pos("TOY.x", H1, 0, 1)["time"][0]),
        )
        assert set(shown) == {utc + hours * 3600}
        terminal.advance()

from __future__ import annotations

from collections import Counter
from enum import IntEnum
from types import SimpleNamespace

import numpy as np
import pytest

from mtquant.brokers import constants as mt5
from mtquant.brokers.base import Outcome
from mtquant.brokers.retcodes import outcome_of, outcome_of_retcode

# MetaQuotes' codes and what each proves of an order; where sources differ, the more cautious.
GOLDEN = {
    10004: "no requote",
    10006: "no reject",
    10007: "no cancelled by a trader",
    10008: "placed",
    10009: "done",
    10010: "part",
    10011: "? error",
    10012: "? timeout",
    10013: "no invalid",
    10014: "no volume",
    10015: "no price",
    10016: "no stops",
    10017: "no trade disabled",
    10018: "no market closed",
    10019: "no money",
    10020: "no price changed",
    10021: "no price off",
    10022: "no expiration",
    10023: "no order changed",
    10024: "no too many requests",
    10025: "? no changes",
    10026: "no server disables autotrading",
    10027: "no client disables autotrading",
    10028: "? locked",
    10029: "no frozen",
    10030: "no fill",
    10031: "? connection",
    10032: "no only real",
    10033: "no limit of orders",
    10034: "no limit of volume",
    10035: "no order type",
    10036: "no position closed",
    10038: "no close volume",
    10039: "no close order exists",
    10040: "no limit of positions",
    10041: "no reject cancel",
    10042: "no long only",
    10043: "no short only",
    10044: "no close only",
    10045: "no fifo",
    10046: "no hedge",
}
CLASSES = {
    "no": Outcome.NOT_EXECUTED,
    "placed": Outcome.PLACED,
    "done": Outcome.EXECUTED,
    "part": Outcome.PARTIAL,
    "?": Outcome.AMBIGUOUS,
}


def test_the_table_is_total_and_golden():
    for code in range(-20_000, 20_001):
        assert outcome_of_retcode(code) is CLASSES[GOLDEN.get(code, "?").split()[0]], code
    named = {value for name, value in vars(mt5).items() if name.startswith("TRADE_RETCODE_")}
    assert named == set(GOLDEN)


def test_every_int_has_one_class_and_doubt_is_the_default():
    counted = Counter(outcome_of_retcode(code) for code in range(-20_000, 20_001))
    assert counted[Outcome.EXECUTED] == counted[Outcome.PARTIAL] == counted[Outcome.PLACED] == 1
    assert counted[Outcome.NOT_EXECUTED] == 33
    assert sum(counted.values()) == 40_001
    assert outcome_of_retcode(10009) is Outcome.EXECUTED
    assert outcome_of_retcode(10010) is Outcome.PARTIAL
    assert outcome_of_retcode(10008) is Outcome.PLACED


@pytest.mark.parametrize("code", [0, 1, 10011, 10012, 10025, 10028, 10031, 10047, 99999, -10005])
def test_what_proves_nothing_is_ambiguous(code):
    assert outcome_of_retcode(code) is Outcome.AMBIGUOUS


@pytest.mark.parametrize("code", [None, float("nan"), 10009.0, "10009", True, np.int64(10009), []])
def test_anything_else_is_ambiguous(code):
    assert outcome_of_retcode(code) is Outcome.AMBIGUOUS
    assert outcome_of(SimpleNamespace(retcode=code), 1) is Outcome.AMBIGUOUS


def test_none_is_judged_by_last_error():
    assert outcome_of(None, -2) is Outcome.NOT_EXECUTED
    assert outcome_of(None, -8) is Outcome.NOT_EXECUTED
    for code in (-1, -6, -10000, -10001, -10005, 1, 0, None, "x", float("nan")):
        assert outcome_of(None, code) is Outcome.AMBIGUOUS
    assert outcome_of("nonsense", 1) is Outcome.AMBIGUOUS


def test_codes_of_the_module_that_refuse():
    refused = {
        name
        for name in vars(mt5)
        if name.startswith("TRADE_RETCODE_")
        and outcome_of_retcode(getattr(mt5, name)) is Outcome.NOT_EXECUTED
    }
    assert {"TRADE_RETCODE_NO_MONEY", "TRADE_RETCODE_MARKET_CLOSED"} <= refused
    assert not refused & {"TRADE_RETCODE_TIMEOUT", "TRADE_RETCODE_ERROR", "TRADE_RETCODE_LOCKED"}


def test_an_enum_is_no_plain_answer():
    class Code(IntEnum):
        DONE = 10009

    assert outcome_of_retcode(Code.DONE) is Outcome.AMBIGUOUS

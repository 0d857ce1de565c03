"""A change of the symbols' file changes that line and leaves every other as it stands."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest
import yaml

from mtquant.config.load import symbols_of
from mtquant.config.symbol_file import changed_symbols
from mtquant.errors import ConfigError
from mtquant.market.configuration import parse_yaml

TEXT = (Path(__file__).parents[2] / "configs" / "symbols.yaml").read_text(encoding="utf-8")
TABLE = symbols_of(parse_yaml(TEXT, "x"), "x")


def changes(new: str) -> tuple[list[str], list[str]]:
    lines = list(difflib.ndiff(TEXT.splitlines(), new.splitlines()))
    return (
        [line[2:] for line in lines if line.startswith("- ")],
        [line[2:] for line in lines if line.startswith("+ ")],
    )


def test_no_change_is_the_same_bytes():
    assert changed_symbols(TEXT, {}, "x") == TEXT
    assert changed_symbols(TEXT, {"XAUUSD": TABLE["XAUUSD"]}, "x") == TEXT


def test_a_changed_value_keeps_its_comment():
    spec = TABLE["XAUUSD"].model_copy(update={"swap_long": -41.25})
    gone, come = changes(changed_symbols(TEXT, {"XAUUSD": spec}, "x"))
    assert len(gone) == len(come) == 1
    assert come[0].split("#")[0].strip() == "swap_long: -41.25"
    assert come[0].split("#")[1] == gone[0].split("#")[1]


def test_a_field_that_was_a_default_is_added_to_its_symbol():
    spec = TABLE["EURUSD"].model_copy(update={"freeze_level_points": 3.0})
    new = changed_symbols(TEXT, {"EURUSD": spec}, "x")
    assert changes(new) == ([], ["  freeze_level_points: 3"])
    assert symbols_of(yaml.safe_load(new), "x")["EURUSD"] == spec


@pytest.mark.parametrize(
    ("field", "value", "written"),
    [
        ("tick_size", 0.00001, "tick_size: 0.00001"),
        ("tick_size", 1e-7, "tick_size: 0.0000001"),
        ("lot_max", 1e7, "lot_max: 10000000"),
        ("swap_triple_day", None, "swap_triple_day: null"),
        ("margin_mode", "cfd", "margin_mode: cfd"),
        ("digits", 3, "digits: 3"),
    ],
)
def test_values_are_written_as_people_write_them(field, value, written):
    spec = TABLE["XAUUSD"].model_copy(update={field: value})
    new = changed_symbols(TEXT, {"XAUUSD": spec}, "x")
    _gone, come = changes(new)
    assert [line.split("#")[0].strip() for line in come] == [written]
    assert getattr(symbols_of(yaml.safe_load(new), "x")["XAUUSD"], field) == value


def test_several_symbols_at_once():
    specs = {n: TABLE[n].model_copy(update={"lot_max": 9.0}) for n in TABLE.names}
    new = symbols_of(yaml.safe_load(changed_symbols(TEXT, specs, "x")), "x")
    assert all(new[name] == specs[name] for name in TABLE.names)


def test_a_file_that_shares_values_is_left_to_a_person():
    """An anchor that two symbols read: a change of one would be a change of both."""
    text = "".join(
        [
            "EURUSD: &e {asset_class: forex, base: EUR, quote: USD, contract_size: 100000,\n",
            "  tick_size: 0.00001, digits: 5, pip_size: 0.0001, typical_spread_points: 5,\n",
            '  hours: {mon-fri: "00:00-24:00"}, lot_max: 50}\n',
            "GBPUSD:\n  <<: *e\n  base: GBP\n",
        ]
    )
    spec = TABLE["EURUSD"].model_copy(update={"lot_max": 9.0})
    with pytest.raises(ConfigError, match=r"x line 5: '\*e' repeats a value; write it out"):
        changed_symbols(text, {"EURUSD": spec}, "x")


def test_an_unknown_symbol_is_refused():
    spec = TABLE["XAUUSD"].model_copy(update={"name": "NOPE"})
    with pytest.raises(ConfigError, match="unknown symbol 'NOPE'"):
        changed_symbols(TEXT, {"NOPE": spec}, "x")

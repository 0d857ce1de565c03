"""The catalogue says what the sources say, and the page in docs is that catalogue."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from pydantic.dataclasses import dataclass

from mtquant.errors import DataError
from mtquant.features.base import PARAMETERS, Column, SymbolFeature
from mtquant.features.describe import (
    Measured,
    catalogue,
    describe,
    range_text,
    read_measurements,
)
from mtquant.features.registry import FEATURES, default_feature
from mtquant.features.returns import Returns

DOCS = Path(__file__).parents[2] / "docs"
MEASURED = DOCS / "feature_measurements.json"


@dataclass(frozen=True, config=PARAMETERS)
class Example(SymbolFeature):
    """Something | something else, as
    one sentence.

    It departs from :func:`mtquant.features.windows.ema` in ``two``
    ways: none.

    Formula:
        x[t] = a
          + b
    Source:
        Author (1999), Title.
    Weakness:
        Sees nothing,
        says nothing.

    Attributes:
        period: Bars of the window,
            the newest included.
        width: How wide.
    """

    key: ClassVar[str] = "example"
    group: ClassVar[str] = "examples"
    presets: ClassVar = {"seed": {"period": 9}}

    period: int = 3
    width: tuple[int, ...] = (1, 2)

    @property
    def columns(self) -> tuple[Column, ...]:
        return (Column("example_3", "first | second", low=-1.0, high=2.5),)

    @property
    def lookback(self) -> int:
        return self.period

    def on_bars(self, bars, params):
        return [bars.close]


def test_a_docstring_is_taken_apart():
    told = describe(Example)
    assert told.summary == "Something | something else, as one sentence."
    assert told.notes.startswith("It departs") and told.notes.endswith("ways: none.")
    assert told.sections == {
        "Formula": "x[t] = a\n  + b",
        "Source": "Author (1999), Title.",
        "Weakness": "Sees nothing,\nsays nothing.",
    }
    assert told.parameters == {
        "period": "Bars of the window, the newest included.",
        "width": "How wide.",
    }
    assert describe(Returns).parameters == {
        "horizons": "Bars between the two closes, one column each."
    }


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (-np.inf, np.inf, "any"),
        (0.0, np.inf, ">= 0"),
        (-np.inf, 1.0, "<= 1"),
        (-1.0, 9.5, "-1 to 9.5"),
        (0.0, 2.2360679, "0 to 2.236"),
    ],
)
def test_ranges(low, high, text):
    assert range_text(Column("x", "x", low, high)) == text


def test_a_chapter_tells_everything(monkeypatch):
    monkeypatch.setitem(FEATURES, "example", Example)
    worth = {"XAUUSD": {"ic_1": 0.0123, "ic_20": -0.2, "size_ic_20": 0.0}}
    page = catalogue({"example_3": Measured(0.256, 31.7, worth)})
    chapter = page.partition("### `example`")[2]
    for line in (
        "It departs from `ema` in `two`",
        "```text\nx[t] = a\n  + b\n```",
        "**Source.** Author (1999), Title.",
        "**Weakness.** Sees nothing,\nsays nothing.",
        r"| `example_3` | first \| second | -1 to 2.5 | 3 | 0.26, 32 | "
        "XAUUSD +0.012, -0.200, +0.000 |",
        "| `period` | `3` | Bars of the window, the newest included. |",
        "| `width` | `[1, 2]` | How wide. |",
        "Preset `seed`: period = 9",
    ):
        assert line in chapter, line
    assert "not measured" not in chapter
    assert "| `example_3` |" in catalogue({}) and "not measured | not measured" in catalogue({})
    assert "| examples | [`example`](#example) |" in page


def test_measurements_are_read_from_a_file(tmp_path):
    path = tmp_path / "measured.json"
    assert read_measurements(path) == {}
    numbers = {"ic_1": 0.5, "ic_20": 0.25, "size_ic_20": 0.125}
    entry = {"us_per_bar": 1, "live_us": 2, "worth": {"gold": {**numbers, "auc_1": 0.5}}}
    path.write_text(json.dumps({"rsi_14": entry}))
    assert read_measurements(path) == {"rsi_14": Measured(1.0, 2.0, {"gold": numbers})}
    del entry["live_us"]
    for wrong in ("[1]", '{"rsi_14": 3}', json.dumps({"rsi_14": entry}), "{"):
        path.write_text(wrong)
        with pytest.raises(DataError, match="must say cost and worth"):
            read_measurements(path)


def test_the_page_in_docs_is_the_catalogue_of_the_sources():
    page = (DOCS / "features.md").read_text(encoding="utf-8")
    assert page == catalogue(read_measurements(MEASURED)), (
        "run `python scripts/features_page.py` and commit docs/features.md"
    )


def test_what_was_measured_exists():
    features = [default_feature(kind) for kind in FEATURES.values()]
    names = {name for feature in features if feature is not None for name in feature.names}
    measured = json.loads(MEASURED.read_text(encoding="utf-8")) if MEASURED.exists() else {}
    assert set(measured) <= names


@pytest.mark.parametrize("key", FEATURES)
def test_every_feature_says_where_it_is_from_and_what_it_cannot_see(key):
    sections = describe(FEATURES[key]).sections
    for title in ("Formula", "Source", "Weakness"):
        assert len(sections.get(title, "")) > 5, title


@pytest.mark.parametrize("key", FEATURES)
def test_every_feature_names_its_parameters(key):
    told, kind = describe(FEATURES[key]), FEATURES[key]
    assert told.summary.endswith(".")
    assert set(told.parameters) == {field.name for field in fields(kind)}

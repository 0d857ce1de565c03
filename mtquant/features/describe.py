"""What a feature says of itself: its docstring's sections as records, and the catalogue page.

``docs/features.md`` is made from these and from ``docs/feature_measurements.json``, which
``benchmarks/feature_worth.py`` writes.
"""

from __future__ import annotations

import inspect
import json
import math
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from time import perf_counter
from typing import Any, TypeAlias

from mtquant.errors import DataError
from mtquant.features.base import BaseFeature, Column, Feature
from mtquant.features.builtin import FEATURES
from mtquant.features.registry import chapters, default_feature, make_feature
from mtquant.market.panel import Panel

NOT_MEASURED = "not measured"

#: What the catalogue shows of a column's worth in each market.
WORTH = ("ic_1", "ic_20", "size_ic_20")


@dataclass(frozen=True)
class Measured:
    """What one column costs and what it is worth.

    Attributes:
        us_per_bar: Of all columns of its feature, over a long history.
        live_us: Of all columns of its feature, for the newest row alone.
        worth: By market, measures by name, :data:`WORTH` among them.
    """

    us_per_bar: float
    live_us: float
    worth: Mapping[str, Mapping[str, float]]


#: By column.
Measurements: TypeAlias = Mapping[str, Measured]

_HEADER = """\
# Features

Made from the sources by `python scripts/features_page.py`; edit the docstrings and run it again.

An env chooses among them by name: a selection (`minimal`, `default`), a group, a feature, a column,
or a feature with parameters such as `rsi: {period: 7}` or `quantum_state: {preset: seed}`. A row
reads as many bars as its lookback says, the newest included.

The cost is that of all columns of a feature together in microseconds: per bar of 50,000 on one
core, then for the newest bar alone, as live. `mtquant features list` measures it on your machine.
The worth is three rank correlations a market: with the return from the next open over 1 bar, over
20 bars, and with the size of the latter. Two standard errors are about 0.01 over one bar and 0.03
over 20. Costs are not counted, and a correlation over one bar may be the quote's own bounce.
"simulated" is the built-in market with its weak hidden regime, where a trend is worth following by
construction, and without it, where every direction is worth nothing. `mtquant features rank` does
the same on your bars, with intervals; `benchmarks/feature_worth.py` wrote these, and
`benchmarks/feature_power.py` shows which feature tells which kind of market from noise.

Another package adds features by the entry-point group `mtquant.features` (name = key, value = a
class derived from `mtquant.features.base.SymbolFeature` or `BaseFeature`). A bundle names the
package and version that its features came from, and loads with no other.

Columns that are dear to compute are kept in `~/.cache/mtquant/features`, 2 GiB at most, under a
hash of bars, code and parameters. `MTQUANT_CACHE_DIR` moves the folder and
`MTQUANT_FEATURE_CACHE=0` does without it; the numbers are the same, bit for bit.
"""


@dataclass(frozen=True)
class Description:
    """The docstring of a feature, taken apart.

    Attributes:
        summary: Its first line.
        notes: The paragraphs up to the first section.
        sections: Text by title, such as ``Formula``; without the attributes.
        parameters: Meaning by name.
    """

    summary: str
    notes: str
    sections: Mapping[str, str]
    parameters: Mapping[str, str]


def describe(kind: type[BaseFeature]) -> Description:
    """The docstring of a feature's class as a record."""
    parts = re.split(r"^([A-Z][a-z]+):$\n", inspect.cleandoc(kind.__doc__ or ""), flags=re.M)
    summary, _, notes = parts[0].strip().partition("\n\n")
    titles, texts = parts[1::2], parts[2::2]
    sections = {t: textwrap.dedent(text).strip() for t, text in zip(titles, texts, strict=True)}
    listed = re.split(r"^(\w+): +", sections.pop("Attributes", ""), flags=re.M)
    parameters = {name: _line(text) for name, text in zip(listed[1::2], listed[2::2], strict=True)}
    return Description(_line(summary), notes.strip(), sections, parameters)


def range_text(column: Column) -> str:
    """The values that a column can take, such as ``0 to 100``."""
    if math.isinf(column.low) and math.isinf(column.high):
        return "any"
    if math.isinf(column.high):
        return f">= {column.low:.4g}"
    return f"<= {column.high:.4g}" if math.isinf(column.low) else _span(column)


def microseconds_per_bar(feature: Feature, panel: Panel, repeats: int = 2) -> float:
    """Time for all columns of one symbol, per bar; the fastest of some repeats, compiled before."""
    params = feature.fit(panel)
    feature.compute(panel, params)
    seconds = []
    for _ in range(repeats):
        began = perf_counter()
        feature.compute(panel, params)
        seconds.append(perf_counter() - began)
    return min(seconds) * 1e6 / (len(panel) * len(panel.symbols))


def read_measurements(path: Path) -> Measurements:
    """What the benchmark has written; nothing where it has not.

    Raises:
        DataError: The file is of another form.
    """
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {
            str(column): Measured(
                float(entry["us_per_bar"]),
                float(entry["live_us"]),
                {
                    str(market): {name: float(numbers[name]) for name in WORTH}
                    for market, numbers in entry["worth"].items()
                },
            )
            for column, entry in content.items()
        }
    except (ValueError, TypeError, AttributeError, KeyError) as problem:
        raise DataError(
            f"'{path}' must say cost and worth of each column ({problem!r}); measure again"
        ) from None


def catalogue(measured: Measurements) -> str:
    """The page of all built-in features, Markdown."""
    blocks = [_HEADER.rstrip()]
    blocks.append(
        _table(
            ("group", "features"),
            (
                (group, ", ".join(f"[`{k}`](#{k})" for k in keys))
                for group, keys in chapters().items()
            ),
        )
    )
    for group, keys in chapters().items():
        blocks.append(f"## {group}")
        for key in keys:
            blocks += _chapter(FEATURES[key], measured)
    return "\n\n".join(blocks) + "\n"


def _chapter(kind: type[BaseFeature], measured: Measurements) -> Iterator[str]:
    told, feature = describe(kind), default_feature(kind)
    yield f"### `{kind.key}`"
    yield _prose(told.summary)
    if told.notes:
        yield _prose(told.notes)
    if "Formula" in told.sections:
        formula = told.sections["Formula"].replace("``", "")
        yield f"```text\n{formula}\n```"
    for title, text in told.sections.items():
        if title != "Formula":
            yield f"**{title}.** {_prose(text)}"
    if feature is not None:
        cells = ("column", "meaning", "range", "lookback", "us", "worth")
        yield _table(cells, (_column_row(c, feature, measured) for c in feature.columns))
    if fields(kind):  # type: ignore[arg-type]
        yield _table(("parameter", "default", "meaning"), _parameter_rows(kind, feature, told))
    for name in kind.presets:
        values = ", ".join(f"{k} = {v}" for k, v in _preset_values(kind, name).items())
        yield f"Preset `{name}`: {values}"


def _column_row(column: Column, feature: Feature, measured: Measurements) -> Sequence[str]:
    known = measured.get(column.name)
    cost = NOT_MEASURED if known is None else f"{known.us_per_bar:.2g}, {known.live_us:.0f}"
    markets = {} if known is None else known.worth
    worth = "; ".join(
        f"{market} " + ", ".join(f"{numbers[name]:+.3f}" for name in WORTH)
        for market, numbers in markets.items()
    )
    return (
        f"`{column.name}`",
        column.meaning,
        range_text(column),
        str(feature.lookback),
        cost,
        worth or NOT_MEASURED,
    )


def _parameter_rows(
    kind: type[BaseFeature], feature: Feature | None, told: Description
) -> Iterator[Sequence[str]]:
    defaults: Mapping[str, Any] = {} if feature is None else feature.parameters()
    for field in fields(kind):  # type: ignore[arg-type]
        default = f"`{defaults[field.name]}`" if field.name in defaults else "to be given"
        yield f"`{field.name}`", default, told.parameters.get(field.name, "")


def _preset_values(kind: type[BaseFeature], preset: str) -> dict[str, Any]:
    values = make_feature(kind.key, {"preset": preset}).parameters()
    return {name: values[name] for name in kind.presets[preset]}


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    escaped = ([_prose(cell).replace("|", r"\|") for cell in cells] for cells in lines)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in escaped)


def _prose(text: str) -> str:
    """Docstring text as Markdown: references by their last name, single backticks."""
    named = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", text)
    return named.replace("``", "`")


def _line(text: str) -> str:
    return " ".join(text.split())


def _span(column: Column) -> str:
    return f"{column.low:.4g} to {column.high:.4g}"

"""The study's results for people: cells of the table, one picture, and a page that needs no net."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go
import plotly.io

from mtquant.backtest.charts import FONT, GRID, INK, LINES, MARK, MUTED
from mtquant.backtest.report_html import CHART, html_document
from mtquant.research.study import RowResult

COLUMNS = (
    "row",
    "agent",
    "seeds",
    "optimum",
    "linear",
    "share of optimum",
    "turnover",
    "exposure",
    "seconds",
    "asked",
)
LEAD = (
    "Markets whose best policy is known. An agent learns on one history and is scored on a fresh "
    "draw of the same law, by the conditional mean of its positions, lambda and costs included. "
    "Share is of what the exact optimum earns on the same draw, with its 95 % interval over seeds; "
    "turnover (per bar) and exposure are in full sizes, the optimum's beside them; optimum and "
    "linear (without lambda) are in bar volatilities a bar; seconds are of the training loop, "
    "validation included."
)
WIDE = "main { max-width: 1360px; } thead th { white-space: nowrap; overflow-wrap: normal; }\n"


def cells(result: RowResult) -> tuple[str, ...]:
    """One line of the table, in the order of :data:`COLUMNS`."""
    best, share = result.optimum, result.share
    if share is None:
        shown = f"{result.mean('value'):+.5f} a bar"
    elif share.numbers == 1:
        shown = f"{share.mean:.1%}"
    else:
        shown = f"{share.mean:.1%} ({share.low:.1%} to {share.high:.1%})"
    return (
        result.row.name,
        result.row.agent,
        str(len(result.trials)),
        f"{best.value:.5f}",
        f"{best.linear_value:.5f}",
        shown,
        f"{result.mean('turnover'):.3f} / {best.turnover:.3f}",
        f"{result.mean('exposure'):.2f} / {best.exposure:.2f}",
        f"{result.mean('seconds'):.0f}",
        result.verdict,
    )


def share_figure(results: Sequence[RowResult]) -> go.Figure:
    """Share of the optimum by row: mean and interval, seeds as dots, what is asked as a mark."""
    shown = [(result.row.name, result, result.share) for result in results]
    known = [(name, result, share) for name, result, share in shown if share is not None]
    dots = [(trial.share, name) for name, result, _ in known for trial in result.trials]
    means = [(share.mean, name) for name, _, share in known]
    reach = [share.mean - share.low if share.numbers > 1 else 0.0 for _, _, share in known]
    asked = [(r.row.least_share, name) for name, r, _ in known if r.row.least_share is not None]
    figure = go.Figure(
        [
            _marks(dots, {"color": LINES[0]["color"], "size": 6, "opacity": 0.35}),
            _marks(means, {"color": INK, "size": 9, "symbol": "diamond"}),
            _marks(asked, {"color": MARK, "size": 16, "symbol": "line-ns-open"}),
        ]
    )
    figure.data[1].error_x = {"type": "data", "array": reach, "color": INK, "thickness": 1.5}
    figure.add_vline(x=1.0, line={"color": MUTED, "dash": "dash", "width": 1})
    low = min([0.0, *(share for share, _ in dots)])
    figure.update_layout(
        template="none",
        showlegend=False,
        height=110 + 30 * len(known),
        margin={"l": 190, "r": 24, "t": 40, "b": 44},
        font={"family": FONT, "color": INK, "size": 13},
        xaxis={"range": [low, 1.05], "tickformat": ".0%", "gridcolor": GRID, "zeroline": False},
        yaxis={"autorange": "reversed", "gridcolor": GRID, "type": "category"},
    )
    return figure


def _marks(points: Sequence[tuple[float, str]], marker: Mapping[str, Any]) -> go.Scatter:
    shares, names = [share for share, _ in points], [name for _, name in points]
    shown = "%{y} %{x:.1%}<extra></extra>"
    return go.Scatter(x=shares, y=names, mode="markers", marker=marker, hovertemplate=shown)


def render_study(results: Sequence[RowResult]) -> str:
    """The complete HTML document; equal results give equal text."""
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in COLUMNS)
    lines = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells(result)) + "</tr>"
        for result in results
    )
    chart = plotly.io.to_html(
        share_figure(results),
        full_html=False,
        include_plotlyjs=True,
        div_id="shares",
        config=CHART,
    )
    parts = [
        "<h1>Planted markets</h1>",
        f"<p>{escape(LEAD)}</p>",
        f"<section><table><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table></section>",
        f"<section><h2>Share of the optimum</h2>{chart}</section>",
    ]
    return html_document("Planted markets", parts, WIDE)

"""The study's results for people: cells of the table, one picture, and a page that needs no net."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go
import plotly.io

from mtquant.backtest.charts import FONT, GRID, INK, LINES, MARK, MUTED
from mtquant.backtest.report_html import CHART, POLICY, STYLE
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
    shown = [result for result in results if result.share is not None]
    names = [result.row.name for result in shown]
    figure = go.Figure()
    for result in shown:
        shares = [trial.share for trial in result.trials]
        figure.add_trace(
            go.Scatter(
                x=shares,
                y=[result.row.name] * len(shares),
                mode="markers",
                marker={"color": LINES[0]["color"], "size": 6, "opacity": 0.35},
                hovertemplate="%{x:.1%}<extra></extra>",
            )
        )
    means = [result.share for result in shown if result.share is not None]
    reach = [mean.mean - mean.low if mean.numbers > 1 else 0.0 for mean in means]
    figure.add_trace(
        go.Scatter(
            x=[mean.mean for mean in means],
            y=names,
            mode="markers",
            marker={"color": INK, "size": 9, "symbol": "diamond"},
            error_x={"type": "data", "array": reach, "color": INK, "thickness": 1.5},
            hovertemplate="%{x:.1%}<extra></extra>",
        )
    )
    asked = [(r.row.least_share, r.row.name) for r in shown if r.row.least_share is not None]
    figure.add_trace(
        go.Scatter(
            x=[least for least, _ in asked],
            y=[name for _, name in asked],
            mode="markers",
            marker={"color": MARK, "size": 16, "symbol": "line-ns-open", "line": {"width": 2}},
            hovertemplate="asked %{x:.0%}<extra></extra>",
        )
    )
    low = min([0.0, *(x for trace in figure.data for x in trace.x)])
    figure.update_layout(
        template="none",
        showlegend=False,
        height=90 + 30 * len(shown),
        margin={"l": 190, "r": 24, "t": 16, "b": 44},
        font={"family": FONT, "color": INK, "size": 13},
        xaxis={"range": [low, 1.05], "tickformat": ".0%", "gridcolor": GRID, "zeroline": False},
        yaxis={"autorange": "reversed", "gridcolor": GRID},
    )
    figure.add_vline(x=1.0, line={"color": MUTED, "dash": "dash", "width": 1})
    return figure


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
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Planted markets</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>Planted markets</h1>\n<p>{escape(LEAD)}</p>\n"
        f"<section><table><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table></section>\n"
        f"<section><h2>Share of the optimum</h2>{chart}</section>\n"
        "</main>\n</body>\n</html>\n"
    )

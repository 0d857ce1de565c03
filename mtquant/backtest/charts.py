"""The picture of a run: equity, drawdown, and the position over the price, on one time axis.

A trace keeps at most ``MAX_POINTS`` points, chosen as the smallest and the largest of equal runs of
bars, so that every spike survives and a page of 50,000 bars is hardly larger than one of 4,000.
Times travel as milliseconds in binary columns, which is a third of the size of text.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from mtquant.backtest.curve import drawdowns
from mtquant.backtest.ledger import Ledger
from mtquant.market.bars import Float, Int

MAX_POINTS = 4000
INK, MUTED, GRID = "#1f2933", "#7b8794", "#e4e7eb"
LONG, SHORT, MARK = "rgba(47, 158, 110, 0.45)", "rgba(200, 85, 61, 0.45)", "#c8553d"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
PANEL_HEIGHT = 250
# The agent's line first; a baseline is drawn under it.
LINES = (
    {"color": "#1d5fae", "width": 1.8},
    {"color": MUTED, "width": 1.3, "dash": "dash"},
    {"color": "#d08c1d", "width": 1.3},
)

Curve = tuple[str, Ledger]


def extremes(values: Float, points: int = MAX_POINTS) -> Int:
    """Rows to draw: the first, the last, and the smallest and largest of each run of bars.

    Args:
        values: ``[T]``, NaN allowed.
        points: At most so many rows are kept; at least 4.

    Returns:
        Increasing row numbers; all of them where ``T <= points``.
    """
    count = values.size
    if count <= points:
        return np.arange(count)
    edges = np.linspace(0, count, (points - 2) // 2 + 1).astype(np.int64)
    low = np.where(np.isnan(values), np.inf, values)
    high = np.where(np.isnan(values), -np.inf, values)
    kept = [0, count - 1]
    for first, last in pairwise(edges):
        kept += [first + low[first:last].argmin(), first + high[first:last].argmax()]
    return np.unique(kept)


def run_figure(curves: Sequence[Curve]) -> go.Figure:
    """Stacked, linked panels: equity, drawdown, then one of price and position per symbol.

    Args:
        curves: Name and ledger; the agent first, then the baselines, all on the same bars. Names
            are shown as they are, markup in them has no effect.

    Returns:
        A figure without anything that changes from call to call.
    """
    agent = curves[0][1]
    symbols = [html.escape(symbol) for symbol in agent.symbols]
    panels = 2 + len(symbols)
    figure = make_subplots(
        rows=panels,
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.16 / panels,
        subplot_titles=[
            "Equity",
            "Drawdown",
            *(f"{name}: position over price" for name in symbols),
        ],
        specs=[[{}], [{}], *([{"secondary_y": True}] for _ in symbols)],
    )
    for number, (name, ledger) in reversed(list(enumerate(curves))):
        line = LINES[min(number, len(LINES) - 1)]
        _add_curve(figure, html.escape(name), ledger, line, rank=number)
    _add_events(figure, agent)
    for column, symbol in enumerate(symbols):
        _add_position(figure, agent, column, symbol)
    _style(figure, panels)
    return figure


def _add_curve(
    figure: go.Figure, name: str, ledger: Ledger, line: dict[str, object], rank: int
) -> None:
    """Equity and drawdown of one ledger."""
    shared = {"name": name, "line": line, "legendgroup": name, "legendrank": 1000 + rank}
    figure.add_trace(
        _line(ledger, ledger.equity, hovertemplate="%{y:,.2f}", **shared), row=1, col=1
    )
    figure.add_trace(
        _line(ledger, -drawdowns(ledger), hovertemplate="%{y:.2%}", showlegend=False, **shared),
        row=2,
        col=1,
    )


def _add_events(figure: go.Figure, ledger: Ledger) -> None:
    """A mark on the agent's equity for each event."""
    if not ledger.events:
        return
    times = np.array([event.time_ns for event in ledger.events], dtype=np.int64)
    rows = np.clip(np.searchsorted(ledger.time_ns, times), 0, len(ledger) - 1)
    figure.add_trace(
        go.Scatter(
            x=_milliseconds(times),
            y=ledger.equity[rows],
            mode="markers",
            name="events",
            marker={"symbol": "x-thin", "size": 9, "line": {"width": 2, "color": MARK}},
            text=[html.escape(event.text) for event in ledger.events],
            hovertemplate="%{text}<extra></extra>",
            legendrank=2000,
        ),
        row=1,
        col=1,
    )


def _add_position(figure: go.Figure, ledger: Ledger, column: int, symbol: str) -> None:
    """Price on the left axis, long and short lots as areas behind it on the right one."""
    row = 3 + column
    lots = ledger.position_lots[:, column]
    sides = (("long", np.maximum(lots, 0), LONG), ("short", np.minimum(lots, 0), SHORT))
    for side, held, colour in sides:
        area = _line(
            ledger,
            held,
            name=side,
            legendgroup=side,
            legendrank=3000,
            showlegend=column == 0,
            line={"color": colour, "width": 0, "shape": "hv"},
            fill="tozeroy",
            fillcolor=colour,
            hovertemplate="%{y:.2f} lots",
        )
        figure.add_trace(area, row=row, col=1, secondary_y=False)
    price = _line(
        ledger,
        ledger.price[:, column],
        name=f"{symbol} bid",
        legendrank=3000,
        line={"color": INK, "width": 1.1},
        hovertemplate="%{y}",
    )
    figure.add_trace(price, row=row, col=1, secondary_y=True)
    # The secondary axis is drawn on top: the price has to be readable over the areas.
    figure.update_yaxes(title_text="price", side="left", row=row, col=1, secondary_y=True)
    figure.update_yaxes(
        title_text="lots", side="right", showgrid=False, row=row, col=1, secondary_y=False
    )


def _line(ledger: Ledger, values: Float, **style: object) -> go.Scatter:
    rows = extremes(values)
    return go.Scatter(x=_milliseconds(ledger.time_ns[rows]), y=values[rows], mode="lines", **style)


def _milliseconds(time_ns: Int) -> Float:
    return time_ns / 1e6


def _style(figure: go.Figure, panels: int) -> None:
    """One quiet look for all panels."""
    figure.update_layout(
        template="none",
        height=PANEL_HEIGHT * panels + 80,
        margin={"l": 72, "r": 72, "t": 64, "b": 36},
        font={"family": FONT, "size": 12, "color": INK},
        paper_bgcolor="#ffffff",
        plot_bgcolor="#ffffff",
        hovermode="x unified",
        hoversubplots="axis",
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1.02, "yanchor": "bottom"},
    )
    figure.update_annotations(x=0, xanchor="left", font={"size": 13, "color": INK})
    figure.update_xaxes(
        type="date",
        domain=[0, 1],
        showgrid=True,
        gridcolor=GRID,
        linecolor=GRID,
        tickcolor=GRID,
        ticks="outside",
    )
    figure.update_yaxes(
        tickmode="auto", gridcolor=GRID, zerolinecolor=GRID, title_font={"color": MUTED}
    )
    figure.update_yaxes(title_text="account currency", tickformat=",.0f", row=1, col=1)
    figure.update_yaxes(title_text="from the peak", tickformat=".0%", row=2, col=1)

"""Small markets worked out by hand for everything that is off by default.

Read as in ``test_golden_markets``: one row is one bar, ``act`` is decided at its close and filled
at the next open, ``-`` keeps what is held. One lot step (0.01 lots) is worth 1 USD per 1.0 of
price, the spread is 0.10, the account holds 10,000 USD, and ATR and average volume are those of
the one last bar.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from mtquant.risk.sizing import SIZING_METHODS
from mtquant.sim.costs import SLIPPAGE_MODELS
from mtquant.sim.kernel import RUNNING, TERMINATED, TRUNCATED
from mtquant.sim.simulator import Simulator

pytestmark = pytest.mark.nojit

BRAKES = {
    "brakes": 1,
    "weekly_loss": 1.0,
    "weekly_loss_level": 3,
    "drawdown": 1.0,
    "drawdown_level": 3,
    "start_loss": 1.0,
    "start_loss_level": 3,
    "losing_run_level": 3,
}
KELLY = {
    "sizing_method": SIZING_METHODS["kelly"],
    "kelly_fraction": 0.25,
    "max_risk_fraction": 1.0,
    "prior_trades": 4.0,
    "prior_win_rate": 0.75,
    "prior_payoff": 1.0,
}
HELD_INTO_MIDNIGHT = """
    open   high   low    close  | act | deals         | balance  | equity
    100.00 100.00 100.00 100.00 |  1  |               | 10000.00 | 10000.00
    100.00 100.00  98.60  98.60 |  -  | +100 @ 100.10 | 10000.00 |  9850.00
     98.60  98.60  97.60  97.60 |  -  |               | 10000.00 |  9750.00
    """
UP_AND_BACK = """
    open   high   low    close  | act | deals         | balance  | equity
    100.00 100.00 100.00 100.00 |  1  |               | 10000.00 | 10000.00
    100.00 103.10 100.00 103.10 |  -  | +100 @ 100.10 | 10000.00 | 10300.00
    103.10 103.10 101.00 101.00 |  -  |               | 10000.00 | 10090.00
    """
LOST_TWICE = """
    open   high   low    close  | act | deals         | balance  | equity
    100.00 100.00 100.00 100.00 | .5  |               | 10000.00 | 10000.00
    100.00 100.00 100.00 100.00 |  0  | +50 @ 100.10  | 10000.00 |  9995.00
    100.00 100.00 100.00 100.00 | .5  | -50 @ 100.00  |  9995.00 |  9995.00
    100.00 100.00 100.00 100.00 |  0  | +49 @ 100.10  |  9995.00 |  9990.10
    100.00 100.00 100.00 100.00 | .5  | -49 @ 100.00  |  9990.10 |  9990.10
    """


@dataclass(frozen=True)
class Golden:
    """One market.

    Attributes:
        name: Of the test.
        table: See the module's first lines.
        rules: Changes of the rules, ``slippage_points`` among them.
        ends: Status of the last step.
        costs: Expected sums of the account.
        levels: Expected breaker level by bar.
        start: Open of the first bar, UTC and the broker's clock.
        volume: Lots a bar; 0 is not recorded.
        factor: The lane's own on spread and slippage.
    """

    name: str
    table: str
    rules: dict[str, Any]
    ends: int = TRUNCATED
    costs: dict[str, float] = field(default_factory=dict)
    levels: dict[int, int] = field(default_factory=dict)
    start: str = "2024-01-02T12:00"
    volume: float = 0.0
    factor: float = 1.0


MARKETS = (
    Golden(
        # A tenth of the last bar's range: 4.00 before the purchase, 1.00 before the sale.
        "slippage as a share of the last bar's range",
        """
        open   high   low    close  | act | deals         | balance  | equity
        100.00 102.00  98.00 100.00 |  1  |               | 10000.00 | 10000.00
        100.00 101.00 100.00 101.00 |  0  | +100 @ 100.50 | 10000.00 | 10050.00
        101.00 150.00  50.00 101.00 |  0  | -100 @ 100.90 | 10040.00 | 10040.00
        """,
        {"slippage_model": SLIPPAGE_MODELS["range"], "slippage_coefficient": 0.1},
        costs={"spread_cost": 10.0, "slippage_cost": 50.0},
    ),
    Golden(
        # One lot of 100 is a hundredth, its root a tenth: of ATR 1.00, then of ATR 2.00.
        "slippage by the square root of the order's share of volume",
        """
        open   high   low    close  | act | deals         | balance  | equity
        100.00 100.00 100.00 100.00 |  0  |               | 10000.00 | 10000.00
        100.00 101.00 100.00 100.00 |  1  |               | 10000.00 | 10000.00
        100.00 102.00 100.00 102.00 |  0  | +100 @ 100.20 | 10000.00 | 10180.00
        102.00 102.00 102.00 102.00 |  0  | -100 @ 101.80 | 10160.00 | 10160.00
        """,
        {"slippage_model": SLIPPAGE_MODELS["sqrt"], "slippage_coefficient": 1.0},
        costs={"spread_cost": 10.0, "slippage_cost": 30.0},
        volume=100.0,
    ),
    Golden(
        # Half a lot of 10 is a twentieth of ATR 1.00. The flip is two orders, each at its own
        # size: 0.05 and 0.098 of ATR 2.00, 0.10 and 0.196, that is 20 ticks. 10,092.50 are 98
        # steps at 102; marked at the ask: 98 * (101.80 - 102.10).
        "slippage by the order's share of volume, each deal by its own",
        """
        open   high   low    close  | act | deals                       | balance  | equity
        100.00 100.00 100.00 100.00 |  0  |                             | 10000.00 | 10000.00
        100.00 101.00 100.00 100.00 | .5  |                             | 10000.00 | 10000.00
        100.00 102.00 100.00 102.00 | -1  | +50 @ 100.15                | 10000.00 | 10092.50
        102.00 102.00 102.00 102.00 |  -  | -50 @ 101.90, -98 @ 101.80  | 10087.50 | 10058.10
        """,
        {"slippage_model": SLIPPAGE_MODELS["volume"], "slippage_coefficient": 1.0},
        costs={"spread_cost": 5.0, "slippage_cost": 27.1},
        volume=10.0,
    ),
    Golden(
        # 0.1 % of 5,005 and 1.50 are 6.505, booked as 6.51; 0.1 % of 5,100 and 1.50 are 6.60.
        "commission by deal and by notional",
        """
        open   high   low    close  | act | deals         | balance  | equity
        100.00 100.00 100.00 100.00 | .5  |               | 10000.00 | 10000.00
        100.00 102.00 100.00 102.00 |  0  | +50 @ 100.10  |  9993.49 | 10088.49
        102.00 102.00 102.00 102.00 |  0  | -50 @ 102.00  | 10081.89 | 10081.89
        """,
        {"commission_per_fill": 1.5, "commission_fraction": 0.001},
        costs={"commission": 13.11},
    ),
    Golden(
        # Spread 10 and slippage 5 ticks become 15 and, rounded up, 8; a short would be marked at
        # the recorded spread.
        "a dear lane pays more for its fills",
        """
        open   high   low    close  | act | deals         | balance  | equity
        100.00 100.00 100.00 100.00 |  1  |               | 10000.00 | 10000.00
        100.00 100.00 100.00 100.00 |  0  | +100 @ 100.23 | 10000.00 |  9977.00
        100.00 100.00 100.00 100.00 |  0  | -100 @ 99.92  |  9969.00 |  9969.00
        """,
        {"cheapest": 0.5, "dearest": 2.0, "slippage_points": 5},
        costs={"spread_cost": 15.0, "slippage_cost": 16.0},
        factor=1.5,
    ),
    Golden(
        # A tenth of 5 lots are 50 steps, where the equity would buy 100.
        "a position is capped by the average volume",
        """
        open   high   low    close  | act | deals         | balance  | equity
        100.00 100.00 100.00 100.00 |  1  |               | 10000.00 | 10000.00
        100.00 100.00 100.00 100.00 | .5  | +50 @ 100.10  | 10000.00 |  9995.00
        100.00 100.00 100.00 100.00 |  -  | -25 @ 100.00  |  9997.50 |  9995.00
        """,
        {"max_volume_share": 0.1},
        volume=5.0,
    ),
    Golden(
        # 94 instead of 100 is a change of 6 and left alone, 49 is not.
        "a change below the least is left alone",
        """
        open   high   low    close  | act | deals         | balance  | equity
        100.00 100.00 100.00 100.00 |  1  |               | 10000.00 | 10000.00
        100.00 100.00 100.00 100.00 | .95 | +100 @ 100.10 | 10000.00 |  9990.00
        100.00 100.00 100.00 100.00 | .5  |               | 10000.00 |  9990.00
        100.00 100.00 100.00 100.00 |  -  | -51 @ 100.00  |  9994.90 |  9990.00
        """,
        {"rebalance_band": 0.0, "min_change": 10.0},
    ),
    Golden(
        # Four imagined trips, three of them won: f = 0.5, a quarter 0.125, over 2 * ATR 5.00 are
        # 125 steps. After the win p = 4 / 5, f = 0.6: 0.15 * 10,612.50 / 10 = 159.2. After the
        # loss p = 4 / 6 and payoff = (4 * 1 + 1 * 612.5 / 1,605.9) / 5 = 0.8763: f = 0.2863,
        # 0.0716 * 9,006.60 / 10 = 64.5.
        "Kelly learns from its own round trips",
        """
        open   high   low    close  | act | deals         | balance  | equity
        100.00 100.00 100.00 100.00 |  0  |               | 10000.00 | 10000.00
        100.00 105.00 100.00 100.00 |  1  |               | 10000.00 | 10000.00
        100.00 105.00 100.00 105.00 |  0  | +125 @ 100.10 | 10000.00 | 10612.50
        105.00 110.00 105.00 105.00 |  1  | -125 @ 105.00 | 10612.50 | 10612.50
        105.00 105.00  95.00  95.00 |  0  | +159 @ 105.10 | 10612.50 |  9006.60
         95.00 100.00  95.00  95.00 |  1  | -159 @ 95.00  |  9006.60 |  9006.60
         95.00  95.00  95.00  95.00 |  -  | +64 @ 95.10   |  9006.60 |  9000.20
        """,
        KELLY,
        costs={"gain_sum": 612.5, "loss_sum": 1605.9, "wins": 1, "trades": 2},
    ),
    Golden(
        # A deviation of 4.00 / 1.59577 = 2.507 on 1 % of 10,000: 39.9 steps.
        "a volatility target",
        """
        open   high   low    close  | act | deals         | balance  | equity
        100.00 100.00 100.00 100.00 |  0  |               | 10000.00 | 10000.00
        100.00 104.00 100.00 100.00 |  1  |               | 10000.00 | 10000.00
        100.00 100.00 100.00 100.00 |  -  | +39 @ 100.10  | 10000.00 |  9996.10
        """,
        {"sizing_method": SIZING_METHODS["volatility_target"], "target_volatility": 0.01},
    ),
    Golden(
        # Tuesday into Wednesday: 250 are 2.5 % of the week's 10,000.
        "the week's loss is not forgiven by a new day",
        HELD_INTO_MIDNIGHT
        + """ 97.60  97.60  97.60  97.60 |  -  | -100 @ 97.60  |  9750.00 |  9750.00
        """,
        {**BRAKES, "weekly_loss": 0.02},
        ends=TERMINATED,
        levels={1: 0, 2: 3, 3: 3},
        start="2024-01-02T22:00",
    ),
    Golden(
        # Sunday into Monday: 100 of the 9,850 at midnight are 1.02 %.
        "the week's loss is counted from Monday",
        HELD_INTO_MIDNIGHT
        + """ 97.60  97.60  97.60  97.60 |  -  |               | 10000.00 |  9750.00
        """,
        {**BRAKES, "weekly_loss": 0.02},
        levels={1: 0, 2: 0, 3: 0},
        start="2024-01-07T22:00",
    ),
    Golden(
        # 210 of the peak's 10,300 are 2.04 %, although the account has won.
        "a drawdown trails the peak",
        UP_AND_BACK
        + """101.00 101.00 101.00 101.00 |  -  | -100 @ 101.00 | 10090.00 | 10090.00
        """,
        {**BRAKES, "drawdown": 0.02},
        ends=TERMINATED,
        levels={1: 0, 2: 3, 3: 3},
    ),
    Golden(
        "a drawdown may trip a lower level",
        UP_AND_BACK
        + """101.00 101.00 101.00 101.00 |  -  |               | 10000.00 | 10090.00
        """,
        {**BRAKES, "drawdown": 0.02, "drawdown_level": 2},
        levels={1: 0, 2: 2, 3: 2},
    ),
    Golden(
        "a loss since the start does not trail",
        UP_AND_BACK
        + """101.00 101.00  98.10  98.10 |  -  |               | 10000.00 |  9800.00
             98.10  98.10  98.10  98.10 |  -  | -100 @ 98.10  |  9800.00 |  9800.00
        """,
        {**BRAKES, "start_loss": 0.02},
        ends=TERMINATED,
        levels={2: 0, 3: 3},
    ),
    Golden(
        "two trips lost one after the other",
        LOST_TWICE,
        {**BRAKES, "losing_run": 2},
        ends=TERMINATED,
        levels={2: 0, 3: 0, 4: 3},
        costs={"losing_run": 2, "loss_sum": 9.9},
    ),
    Golden(
        "a win in between ends a losing run",
        """
        open   high   low    close  | act | deals         | balance  | equity
        100.00 100.00 100.00 100.00 | .5  |               | 10000.00 | 10000.00
        100.00 100.00 100.00 100.00 |  0  | +50 @ 100.10  | 10000.00 |  9995.00
        100.00 100.00 100.00 100.00 | .5  | -50 @ 100.00  |  9995.00 |  9995.00
        100.00 102.00 100.00 102.00 |  0  | +49 @ 100.10  |  9995.00 | 10088.10
        102.00 102.00 102.00 102.00 | .5  | -49 @ 102.00  | 10088.10 | 10088.10
        102.00 102.00 102.00 102.00 |  0  | +49 @ 102.10  | 10088.10 | 10083.20
        102.00 102.00 102.00 102.00 |  -  | -49 @ 102.00  | 10083.20 | 10083.20
        """,
        {**BRAKES, "losing_run": 2},
        levels={2: 0, 4: 0, 6: 0},
        costs={"losing_run": 1, "trades": 3, "wins": 1},
    ),
    Golden(
        # LEVEL_2 at 23:00 denies the purchase of midnight's bar; the new day forgives the run.
        "a losing run at a lower level is served by the next day",
        LOST_TWICE
        + """100.00 100.00 100.00 100.00 | .5 |              |  9990.10 |  9990.10
             100.00 100.00 100.00 100.00 | -  | +49 @ 100.10 |  9990.10 |  9985.20
        """,
        {**BRAKES, "losing_run": 2, "losing_run_level": 2},
        levels={4: 2, 5: 0, 6: 0},
        costs={"losing_run": 0},
        start="2024-01-02T19:00",
    ),
)


def parse(table: str) -> list[list[str]]:
    """Cells of the table's rows."""
    return [[cell.strip() for cell in row.split("|")] for row in table.strip().splitlines()[1:]]


@pytest.mark.parametrize("market", MARKETS, ids=lambda market: market.name)
def test_golden_market(market, toy_spec, toy_bars, toy_tape):
    rows = parse(market.table)
    bars = toy_bars([[float(p) for p in row[0].split()] for row in rows], start=market.start)
    object.__setattr__(bars, "volume", np.full(len(rows), market.volume))
    simulator = Simulator(toy_tape(bars, toy_spec(), **market.rules))
    simulator.place(0, 0, len(rows) - 1, 10_000.0)
    book, account = simulator.book, simulator.book.account[0]
    account["cost_factor"] = market.factor
    for t, row in enumerate(rows[1:], start=1):
        action = rows[t - 1][1]
        action = float("nan") if action == "-" else float(action)
        _, _, status = simulator.step_lane(0, np.array([[action]], np.float32))
        expected = [deal.split("@") for deal in row[2].split(",") if deal]
        deals = book.deals[0, : account["n_deals"]]
        assert deals["steps"].tolist() == [int(steps) for steps, _ in expected], t
        assert deals["price"] == pytest.approx([float(p) for _, p in expected], abs=1e-9), t
        assert account["balance"] == pytest.approx(float(row[3]), abs=1e-9), t
        assert account["equity"] == pytest.approx(float(row[4]), abs=1e-6), t
        if t in market.levels:
            assert account["level"] == market.levels[t], t
        assert status == (RUNNING if t < len(rows) - 1 else market.ends), t
    for name, paid in market.costs.items():
        assert account[name] == pytest.approx(paid, abs=1e-9), name

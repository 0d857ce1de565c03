"""Five-bar markets worked out by hand.

One row is one bar. ``act`` is decided at that bar's close and filled at the next bar's open; ``-``
is NaN, which keeps what is held. ``deals`` (signed lot steps @ price), ``balance`` and ``equity``
are what the bar must leave behind. Unless a case says otherwise one lot step is worth 1 USD per
1.0 of price, the spread is 0.10, the account holds 10,000 USD, |action| = 1 is the notional of the
whole equity, and nothing else costs anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from mtquant.risk.reasons import REASONS
from mtquant.sim.kernel import RUNNING, TERMINATED, TRUNCATED
from mtquant.sim.simulator import Simulator

pytestmark = pytest.mark.nojit

ENDS = {RUNNING: "running", TERMINATED: "terminated", TRUNCATED: "truncated"}


@dataclass(frozen=True)
class Golden:
    """One market.

    Attributes:
        name: Of the test.
        table: See the module's first lines.
        ends: Status of the last step.
        costs: Expected ``spread_cost``, ``slippage_cost``, ``commission``, ``swap`` in all.
        reasons: Expected reason by bar.
        levels: Expected breaker level by bar.
        spec: Changes of the contract.
        market: Changes of the bars: ``spread``, ``start``.
        rules: Changes of the rules, ``slippage_points`` and ``atr_bars`` among them.
    """

    name: str
    table: str
    ends: str = "truncated"
    costs: dict[str, float] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)
    levels: dict[int, int] = field(default_factory=dict)
    spec: dict[str, Any] = field(default_factory=dict)
    market: dict[str, Any] = field(default_factory=dict)
    rules: dict[str, Any] = field(default_factory=dict)


MARKETS = (
    Golden(
        # 100 * (101 - 100.10) = 90; 100 * (102 - 100.10) = 190; closed at the bid of the open.
        "a buy pays the ask and is sold at the bid",
        """
        open   high   low    close  | act | deals         | balance  | equity
        100.00 100.00 100.00 100.00 |  1  |               | 10000.00 | 10000.00
        100.00 101.00 100.00 101.00 |  -  | +100 @ 100.10 | 10000.00 | 10090.00
        101.00 102.00 101.00 102.00 |  0  |               | 10000.00 | 10190.00
        102.00 103.00 102.00 103.00 |  0  | -100 @ 102.00 | 10190.00 | 10190.00
        103.00 103.00 103.00 103.00 |     |               | 10190.00 | 10190.00
        """,
        costs={"spread_cost": 10.0, "slippage_cost": 0.0, "commission": 0.0, "swap": 0.0},
    ),
    Golden(
        # Marked at the ask: 100 * (100 - 99.10) = 90; bought back at 98 + 0.10: 190.
        "a short sells at the bid and is bought back at the ask",
        """
        open   high   low    close  | act | deals         | balance  | equity
        100.00 100.00 100.00 100.00 | -1  |               | 10000.00 | 10000.00
        100.00 100.00  99.00  99.00 |  -  | -100 @ 100.00 | 10000.00 | 10090.00
         99.00  99.00  98.00  98.00 |  0  |               | 10000.00 | 10190.00
         98.00  98.00  97.00  97.00 |  0  | +100 @ 98.10  | 10190.00 | 10190.00
         97.00  97.00  97.00  97.00 |     |               | 10190.00 | 10190.00
        """,
        costs={"spread_cost": 10.0},
    ),
    Golden(
        # The open gaps from 100 to 103: the order pays 103.10, never the 100 that was seen.
        "a gap is paid: fills are at the next open",
        """
        open   high   low    close  | act | deals        | balance  | equity
        100.00 100.00 100.00 100.00 | 0.5 |              | 10000.00 | 10000.00
        103.00 104.00 102.00 103.00 |  -  | +50 @ 103.10 | 10000.00 |  9995.00
        103.00 103.00 103.00 103.00 |  0  |              | 10000.00 |  9995.00
        101.00 103.00 101.00 103.00 |  0  | -50 @ 101.00 |  9895.00 |  9895.00
        103.00 103.00 103.00 103.00 |     |              |  9895.00 |  9895.00
        """,
    ),
    Golden(
        # 5 points = 0.05 against both sides: 100.15 in, 99.95 out, 100 * 0.20 lost; half of it is
        # spread, half slippage.
        "slippage goes against both sides",
        """
        open   high   low    close  | act | deals         | balance  | equity
        100.00 100.00 100.00 100.00 |  1  |               | 10000.00 | 10000.00
        100.00 100.00 100.00 100.00 |  0  | +100 @ 100.15 | 10000.00 |  9985.00
        100.00 100.00 100.00 100.00 |  0  | -100 @ 99.95  |  9980.00 |  9980.00
        100.00 100.00 100.00 100.00 |  0  |               |  9980.00 |  9980.00
        100.00 100.00 100.00 100.00 |     |               |  9980.00 |  9980.00
        """,
        costs={"spread_cost": 10.0, "slippage_cost": 10.0},
        rules={"slippage_points": 5},
    ),
    Golden(
        # 3.5 a lot and side on 0.33 lots is 1.155, booked as 1.16 twice. 33 * 0.10 = 3.30 spread.
        "commission is charged on both sides and rounded half away from zero",
        """
        open   high   low    close  | act  | deals        | balance  | equity
        100.00 100.00 100.00 100.00 | 0.33 |              | 10000.00 | 10000.00
        100.00 100.00 100.00 100.00 |  0   | +33 @ 100.10 |  9998.84 |  9995.54
        100.00 100.00 100.00 100.00 |  0   | -33 @ 100.00 |  9994.38 |  9994.38
        100.00 100.00 100.00 100.00 |  0   |              |  9994.38 |  9994.38
        100.00 100.00 100.00 100.00 |      |              |  9994.38 |  9994.38
        """,
        costs={"spread_cost": 3.3, "commission": 2.32},
        spec={"commission_per_lot": 3.5},
    ),
    Golden(
        # At 101 the account of 10,090 is worth 99.9 steps: close 100, sell 99.
        # Marked at the ask 102.10: 10,090 + 99 * (101 - 102.10) = 9,981.10.
        "a flip is two deals",
        """
        open   high   low    close  | act | deals                       | balance  | equity
        100.00 100.00 100.00 100.00 |  1  |                             | 10000.00 | 10000.00
        100.00 101.00 100.00 101.00 | -1  | +100 @ 100.10               | 10000.00 | 10090.00
        101.00 102.00 101.00 102.00 |  -  | -100 @ 101.00, -99 @ 101.00 | 10090.00 |  9981.10
        102.00 102.00 102.00 102.00 |  -  |                             | 10090.00 |  9981.10
        102.00 102.00 102.00 102.00 |     |                             | 10090.00 |  9981.10
        """,
        costs={"spread_cost": 10.0},
    ),
    Golden(
        # 0.5 at 102 is floor(10,190 / 102 / 2) = 49 steps: 51 go at 102, 51 * 1.90 = 96.90. The
        # other 49 keep the entry 100.10: 49 * 2.90 = 142.10 at 103.
        "a partial reduction keeps the entry of the rest",
        """
        open   high   low    close  | act | deals         | balance  | equity
        100.00 100.00 100.00 100.00 |  1  |               | 10000.00 | 10000.00
        100.00 102.00 100.00 102.00 | 0.5 | +100 @ 100.10 | 10000.00 | 10190.00
        102.00 103.00 102.00 103.00 |  -  | -51 @ 102.00  | 10096.90 | 10239.00
        103.00 103.00 103.00 103.00 |  0  |               | 10096.90 | 10239.00
        103.00 103.00 103.00 103.00 |     | -49 @ 103.00  | 10239.00 | 10239.00
        """,
    ),
    Golden(
        # 10,045 at 101 is 99.45 steps, 99 of them: 49 more at 101.10. The mean entry is
        # (50 * 100.10 + 49 * 101.10) / 99 = 100.59494..., and at 101 that is
        # 50 * 0.90 - 49 * 0.10 = 40.10; sold at 102: 50 * 1.90 + 49 * 0.90 = 139.10.
        "averaging in weighs the entries by volume",
        """
        open   high   low    close  | act | deals        | balance  | equity
        100.00 100.00 100.00 100.00 | 0.5 |              | 10000.00 | 10000.00
        100.00 101.00 100.00 101.00 |  1  | +50 @ 100.10 | 10000.00 | 10045.00
        101.00 101.00 101.00 101.00 |  0  | +49 @ 101.10 | 10000.00 | 10040.10
        102.00 102.00 102.00 102.00 |  0  | -99 @ 102.00 | 10139.10 | 10139.10
        102.00 102.00 102.00 102.00 |     |              | 10139.10 | 10139.10
        """,
    ),
    Golden(
        # Tuesday 22:00, 23:00, midnight: -20 points a lot and night are 20 USD on one lot. The
        # charge waits on the position and reaches the balance with the closing deal.
        "swap in points is charged for the night and booked on closing",
        """
        open   high   low    close  | act | deals         | balance  | equity
        100.00 100.00 100.00 100.00 |  1  |               | 10000.00 | 10000.00
        100.00 100.00 100.00 100.00 |  -  | +100 @ 100.10 | 10000.00 |  9970.00
        100.00 100.00 100.00 100.00 |  0  |               | 10000.00 |  9970.00
        100.00 100.00 100.00 100.00 |  0  | -100 @ 100.00 |  9970.00 |  9970.00
        100.00 100.00 100.00 100.00 |     |               |  9970.00 |  9970.00
        """,
        costs={"spread_cost": 10.0, "swap": 20.0},
        spec={"swap_mode": "points", "swap_long": -20.0, "swap_short": 5.0},
        market={"start": "2024-01-02T22:00"},
    ),
    Golden(
        # The short is credited 5 points: +5 USD on one lot, a negative cost. Its spread is paid on
        # the way out: marked 10 below.
        "a short's swap may be a credit",
        """
        open   high   low    close  | act | deals         | balance  | equity
        100.00 100.00 100.00 100.00 | -1  |               | 10000.00 | 10000.00
        100.00 100.00 100.00 100.00 |  -  | -100 @ 100.00 | 10000.00 |  9995.00
        100.00 100.00 100.00 100.00 |  0  |               | 10000.00 |  9995.00
        100.00 100.00 100.00 100.00 |  0  | +100 @ 100.10 |  9995.00 |  9995.00
        100.00 100.00 100.00 100.00 |     |               |  9995.00 |  9995.00
        """,
        costs={"spread_cost": 10.0, "swap": -5.0},
        spec={"swap_mode": "points", "swap_long": -20.0, "swap_short": 5.0},
        market={"start": "2024-01-02T22:00"},
    ),
    Golden(
        # 3.6 % a year over 360 days is 0.01 % a night of 100 * 101 = 10,100: 1.01.
        "swap in percent is of the value at the close over 360 days",
        """
        open   high   low    close  | act | deals         | balance  | equity
        100.00 100.00 100.00 100.00 |  1  |               | 10000.00 | 10000.00
        100.00 101.00 100.00 101.00 |  -  | +100 @ 100.10 | 10000.00 | 10088.99
        101.00 101.00 101.00 101.00 |  0  |               | 10000.00 | 10088.99
        101.00 101.00 101.00 101.00 |  0  | -100 @ 101.00 | 10088.99 | 10088.99
        101.00 101.00 101.00 101.00 |     |               | 10088.99 | 10088.99
        """,
        costs={"swap": 1.01},
        spec={"swap_mode": "percent", "swap_long": -3.6},
        market={"start": "2024-01-02T22:00"},
    ),
    Golden(
        # -7.5 USD a lot and night on 0.33 lots: 2.475, booked as 2.48. Spread 3.30.
        "swap in money is per lot and rounded to cents",
        """
        open   high   low    close  | act  | deals        | balance  | equity
        100.00 100.00 100.00 100.00 | 0.33 |              | 10000.00 | 10000.00
        100.00 100.00 100.00 100.00 |  -   | +33 @ 100.10 | 10000.00 |  9994.22
        100.00 100.00 100.00 100.00 |  0   |              | 10000.00 |  9994.22
        100.00 100.00 100.00 100.00 |  0   | -33 @ 100.00 |  9994.22 |  9994.22
        100.00 100.00 100.00 100.00 |      |              |  9994.22 |  9994.22
        """,
        costs={"swap": 2.48},
        spec={"swap_mode": "money", "swap_long": -7.5},
        market={"start": "2024-01-02T22:00"},
    ),
    Golden(
        # The night from Wednesday to Thursday books the weekend too: 3 * 20.
        "the triple day books three nights",
        """
        open   high   low    close  | act | deals         | balance  | equity
        100.00 100.00 100.00 100.00 |  1  |               | 10000.00 | 10000.00
        100.00 100.00 100.00 100.00 |  -  | +100 @ 100.10 | 10000.00 |  9930.00
        100.00 100.00 100.00 100.00 |  0  |               | 10000.00 |  9930.00
        100.00 100.00 100.00 100.00 |  0  | -100 @ 100.00 |  9930.00 |  9930.00
        100.00 100.00 100.00 100.00 |     |               |  9930.00 |  9930.00
        """,
        costs={"swap": 60.0},
        spec={"swap_mode": "points", "swap_long": -20.0},
        market={"start": "2024-01-03T22:00"},
    ),
    Golden(
        # Opened at midnight's open: the night before is not its night.
        "a position opened at midnight pays no swap for the night before",
        """
        open   high   low    close  | act | deals         | balance  | equity
        100.00 100.00 100.00 100.00 |  1  |               | 10000.00 | 10000.00
        100.00 100.00 100.00 100.00 |  0  | +100 @ 100.10 | 10000.00 |  9990.00
        100.00 100.00 100.00 100.00 |  0  | -100 @ 100.00 |  9990.00 |  9990.00
        100.00 100.00 100.00 100.00 |  0  |               |  9990.00 |  9990.00
        100.00 100.00 100.00 100.00 |     |               |  9990.00 |  9990.00
        """,
        costs={"swap": 0.0},
        spec={"swap_mode": "points", "swap_long": -20.0},
        market={"start": "2024-01-02T23:00"},
    ),
    Golden(
        # 9,970 / 100 / 2 = 49.85: 49 stay, 51 go and take 51 % of the 20 USD swap: 10.20; with the
        # spread 51 * 0.10 that is 15.30. The rest: 4.90 + 9.80 = 14.70.
        "a partial reduction books its share of the swap",
        """
        open   high   low    close  | act | deals         | balance  | equity
        100.00 100.00 100.00 100.00 |  1  |               | 10000.00 | 10000.00
        100.00 100.00 100.00 100.00 | 0.5 | +100 @ 100.10 | 10000.00 |  9970.00
        100.00 100.00 100.00 100.00 |  0  | -51 @ 100.00  |  9984.70 |  9970.00
        100.00 100.00 100.00 100.00 |  0  | -49 @ 100.00  |  9970.00 |  9970.00
        100.00 100.00 100.00 100.00 |     |               |  9970.00 |  9970.00
        """,
        costs={"swap": 20.0},
        spec={"swap_mode": "points", "swap_long": -20.0},
        market={"start": "2024-01-02T22:00"},
    ),
    Golden(
        # 0 means not recorded: the typical 30 points are paid, not nothing.
        "an unrecorded spread is the typical one",
        """
        open   high   low    close  | act | deals         | balance  | equity
        100.00 100.00 100.00 100.00 |  1  |               | 10000.00 | 10000.00
        100.00 100.00 100.00 100.00 |  0  | +100 @ 100.30 | 10000.00 |  9970.00
        100.00 100.00 100.00 100.00 | -.5 | -100 @ 100.00 |  9970.00 |  9970.00
        100.00 100.00 100.00 100.00 |  0  | -49 @ 100.00  |  9970.00 |  9965.10
        100.00 100.00 100.00 100.00 |     | +49 @ 100.30  |  9955.30 |  9955.30
        """,
        spec={"typical_spread_points": 30},
        market={"spread": [10, 0, 10, 10, 0]},
    ),
    Golden(
        # 10,000 / 300 = 33.3 steps; half of that is 16.7.
        "volume is rounded down to the lot step",
        """
        open   high   low    close  | act | deals        | balance  | equity
        300.00 300.00 300.00 300.00 |  1  |              | 10000.00 | 10000.00
        300.00 300.00 300.00 300.00 | 0.5 | +33 @ 300.10 | 10000.00 |  9996.70
        300.00 300.00 300.00 300.00 |  0  | -17 @ 300.00 |  9998.30 |  9996.70
        300.00 300.00 300.00 300.00 |  0  | -16 @ 300.00 |  9996.70 |  9996.70
        300.00 300.00 300.00 300.00 |     |              |  9996.70 |  9996.70
        """,
    ),
    Golden(
        # The smallest order is 0.10 lots = 10 steps: 9 steps are 0, 10 are 10.
        "less than the smallest lot is nothing",
        """
        open   high   low    close  | act  | deals        | balance  | equity
        100.00 100.00 100.00 100.00 | 0.09 |              | 10000.00 | 10000.00
        100.00 100.00 100.00 100.00 | 0.1  |              | 10000.00 | 10000.00
        100.00 100.00 100.00 100.00 | 0.05 | +10 @ 100.10 | 10000.00 |  9999.00
        100.00 100.00 100.00 100.00 |  0   | -10 @ 100.00 |  9999.00 |  9999.00
        100.00 100.00 100.00 100.00 |      |              |  9999.00 |  9999.00
        """,
        spec={"lot_min": 0.1},
        rules={"rebalance_band": 0.0},
    ),
    Golden(
        # lot_max 0.5 = 50 steps caps the 100 that equity would pay for.
        "the largest lot caps the position",
        """
        open   high   low    close  | act | deals        | balance  | equity
        100.00 100.00 100.00 100.00 | -1  |              | 10000.00 | 10000.00
        100.00 100.00 100.00 100.00 | -1  | -50 @ 100.00 | 10000.00 |  9995.00
        100.00 100.00 100.00 100.00 | -1  |              | 10000.00 |  9995.00
        100.00 100.00 100.00 100.00 |  0  |              | 10000.00 |  9995.00
        100.00 100.00 100.00 100.00 |     | +50 @ 100.10 |  9995.00 |  9995.00
        """,
        spec={"lot_max": 0.5},
    ),
    Golden(
        # 100 steps are paid for, an account may hold 30.
        "the broker's limit on a symbol's volume caps the position",
        """
        open   high   low    close  | act | deals                      | balance  | equity
        100.00 100.00 100.00 100.00 |  1  |                            | 10000.00 | 10000.00
        100.00 100.00 100.00 100.00 |  1  | +30 @ 100.10               | 10000.00 |  9997.00
        100.00 100.00 100.00 100.00 | -1  |                            | 10000.00 |  9997.00
        100.00 100.00 100.00 100.00 |  -  | -30 @ 100.00, -30 @ 100.00 |  9997.00 |  9994.00
        100.00 100.00 100.00 100.00 |     |                            |  9997.00 |  9994.00
        """,
        spec={"volume_limit": 0.3},
    ),
    Golden(
        # 4 times the equity is wanted, 2 allowed: 200 steps.
        "the maximum exposure reduces the order",
        """
        open   high   low    close  | act | deals         | balance  | equity
        100.00 100.00 100.00 100.00 |  1  |               | 10000.00 | 10000.00
        100.00 100.00 100.00 100.00 |  -  | +200 @ 100.10 | 10000.00 |  9980.00
        100.00 100.00 100.00 100.00 |  0  |               | 10000.00 |  9980.00
        100.00 100.00 100.00 100.00 |  0  | -200 @ 100.00 |  9980.00 |  9980.00
        100.00 100.00 100.00 100.00 |     |               |  9980.00 |  9980.00
        """,
        reasons={1: "reduced to the maximum exposure", 2: "unchanged"},
        rules={"notional_fraction": 4.0, "max_exposure": 2.0},
    ),
    Golden(
        # After the fall 200 steps are 190 * 100 / 9,000 > 2 of equity: nothing is forced, and the
        # increase that is still asked for is denied. 200 * (95 - 100.10) = -1,020.
        "above the limit nothing is added and nothing is forced out",
        """
        open   high   low    close  | act | deals         | balance  | equity
        100.00 100.00 100.00 100.00 |  1  |               | 10000.00 | 10000.00
        100.00 100.00  95.00  95.00 |  1  | +200 @ 100.10 | 10000.00 |  8980.00
         95.00  95.00  95.00  95.00 |  1  |               | 10000.00 |  8980.00
         95.00  95.00  95.00  95.00 |  1  |               | 10000.00 |  8980.00
         95.00  95.00  95.00  95.00 |     |               | 10000.00 |  8980.00
        """,
        reasons={2: "reduced to the maximum exposure"},
        rules={"notional_fraction": 4.0, "max_exposure": 2.0},
    ),
    Golden(
        # Steps of 1, orders of at least 10: from 20 neither to 25 nor to 15, but to 30 and to 20.
        "an order below the smallest lot is not sent",
        """
        open   high   low    close  | act | deals        | balance  | equity
        100.00 100.00 100.00 100.00 | .20 |              | 10000.00 | 10000.00
        100.00 100.00 100.00 100.00 | .25 | +20 @ 100.10 | 10000.00 |  9998.00
        100.00 100.00 100.00 100.00 | .15 |              | 10000.00 |  9998.00
        100.00 100.00 100.00 100.00 | .31 |              | 10000.00 |  9998.00
        100.00 100.00 100.00 100.00 | .21 | +10 @ 100.10 | 10000.00 |  9997.00
        100.00 100.00 100.00 100.00 |     | -10 @ 100.00 |  9999.00 |  9997.00
        """,
        reasons={2: "unchanged"},
        spec={"lot_min": 0.1},
        rules={"rebalance_band": 0.0},
    ),
    Golden(
        # Long 10. At 101 a tenth of 10,009 is 9 steps, too few for a short: the flip only closes.
        # 10 * (101 - 100.10) = 9.
        "a flip cut below the smallest lot is a reduction",
        """
        open   high   low    close  | act | deals        | balance  | equity
        100.00 100.00 100.00 100.00 |  1  |              | 10000.00 | 10000.00
        100.00 101.00 100.00 101.00 | -1  | +10 @ 100.10 | 10000.00 | 10009.00
        101.00 101.00 101.00 101.00 |  -  | -10 @ 101.00 | 10009.00 | 10009.00
        101.00 101.00 101.00 101.00 |     |              | 10009.00 | 10009.00
        """,
        spec={"lot_min": 0.1},
        rules={"max_exposure": 0.1},
    ),
    Golden(
        # 5 % of 10,000 are 5 steps, 10 are the smallest order: nothing, rather than too much.
        "what the limit leaves below the smallest lot is nothing",
        """
        open   high   low    close  | act | deals | balance  | equity
        100.00 100.00 100.00 100.00 |  1  |       | 10000.00 | 10000.00
        100.00 100.00 100.00 100.00 | -1  |       | 10000.00 | 10000.00
        100.00 100.00 100.00 100.00 |     |       | 10000.00 | 10000.00
        """,
        spec={"lot_min": 0.1},
        rules={"max_exposure": 0.05},
    ),
    Golden(
        # 4 times the equity short is wanted and 2 allowed: 9,990 * 2 / 100 = 199.8.
        "a flip is cut to the maximum exposure on the other side",
        """
        open   high   low    close  | act  | deals                        | balance  | equity
        100.00 100.00 100.00 100.00 | .25  |                              | 10000.00 | 10000.00
        100.00 100.00 100.00 100.00 | -1   | +100 @ 100.10                | 10000.00 |  9990.00
        100.00 100.00 100.00 100.00 |  0   | -100 @ 100.00, -199 @ 100.00 |  9990.00 |  9970.10
        100.00 100.00 100.00 100.00 |  0   | +199 @ 100.10                |  9970.10 |  9970.10
        100.00 100.00 100.00 100.00 |      |                              |  9970.10 |  9970.10
        """,
        reasons={2: "reduced to the maximum exposure"},
        rules={"notional_fraction": 4.0, "max_exposure": 2.0},
    ),
    Golden(
        "NaN holds through a doubling and through flat",
        """
        open   high   low    close  | act | deals        | balance  | equity
        100.00 100.00 100.00 100.00 |  -  |              | 10000.00 | 10000.00
        100.00 100.00 100.00 100.00 | 0.2 |              | 10000.00 | 10000.00
        100.00 200.00 100.00 200.00 |  -  | +20 @ 100.10 | 10000.00 | 11998.00
        200.00 200.00 200.00 200.00 |  -  |              | 10000.00 | 11998.00
        200.00 200.00 200.00 200.00 |     |              | 10000.00 | 11998.00
        """,
        reasons={1: "unchanged", 3: "unchanged"},
    ),
    Golden(
        # Full size is 100 and then 99.9, a tenth of it 9.99: 94 steps are within, 89 are not.
        "within the rebalance band the position is left alone",
        """
        open   high   low    close  | act  | deals         | balance  | equity
        100.00 100.00 100.00 100.00 |  1   |               | 10000.00 | 10000.00
        100.00 100.00 100.00 100.00 | 0.95 | +100 @ 100.10 | 10000.00 |  9990.00
        100.00 100.00 100.00 100.00 | 0.90 |               | 10000.00 |  9990.00
        100.00 100.00 100.00 100.00 |  0   | -11 @ 100.00  |  9998.90 |  9990.00
        100.00 100.00 100.00 100.00 |      | -89 @ 100.00  |  9990.00 |  9990.00
        """,
        reasons={2: "unchanged", 3: "allowed"},
    ),
    Golden(
        # Beyond [-1, 1] is 1.
        "actions are clipped",
        """
        open   high   low    close  | act | deals         | balance  | equity
        100.00 100.00 100.00 100.00 |  7  |               | 10000.00 | 10000.00
        100.00 100.00 100.00 100.00 |  0  | +100 @ 100.10 | 10000.00 |  9990.00
        100.00 100.00 100.00 100.00 | -9  | -100 @ 100.00 |  9990.00 |  9990.00
        100.00 100.00 100.00 100.00 |  -  | -99 @ 100.00  |  9990.00 |  9980.10
        100.00 100.00 100.00 100.00 |     |               |  9990.00 |  9980.10
        """,
    ),
    Golden(
        # Equity 50,000 risks 2 % = 1,000 on 2 ATR of 20 = 40: 25 steps. At -0.5: 12.5, 12 steps.
        "volatility sizing risks a fraction of equity on a multiple of ATR",
        """
        open    high    low     close   | act | deals         | balance  | equity
        2000.00 2010.00 1990.00 2000.00 |  0  |               | 50000.00 | 50000.00
        2000.00 2010.00 1990.00 2000.00 |  1  |               | 50000.00 | 50000.00
        2000.00 2010.00 1990.00 2000.00 |  0  | +25 @ 2000.10 | 50000.00 | 49997.50
        2000.00 2010.00 1990.00 2000.00 | -.5 | -25 @ 2000.00 | 49997.50 | 49997.50
        2000.00 2010.00 1990.00 2000.00 |     | -12 @ 2000.00 | 49997.50 | 49996.30
        """,
        rules={"sizing_method": 0, "capital": 50_000.0},
    ),
    Golden(
        # 4,999 steps, margin 4,999 * 100 / 100, stop-out at equity 2,499.50: where the bid is
        # 100.10 - 7,500.50 / 4,999 = 98.5996, rounded against the account to 98.59.
        # 4,999 * (98.59 - 100.10) = -7,548.49. The close at 99.90 comes too late.
        "a long is stopped out inside the bar",
        """
        open   high   low    close  | act | deals                         | balance  | equity
        100.00 100.00 100.00 100.00 |  1  |                               | 10000.00 | 10000.00
        100.00 100.00  98.00  99.90 |     | +4999 @ 100.10, -4999 @ 98.59 |  2451.51 |  2451.51
        """,
        ends="terminated",
        levels={1: 3},
        costs={"spread_cost": 499.9},
        rules={"notional_fraction": 49.99, "max_exposure": 50.0},
    ),
    Golden(
        # The mirror image: at an ask of 100 + 7,500.50 / 4,999 = 101.5004, a bid of 101.4004,
        # rounded to 101.41: bought back at 101.51.
        "a short is stopped out inside the bar at the ask",
        """
        open   high   low    close  | act | deals                          | balance  | equity
        100.00 100.00 100.00 100.00 | -1  |                                | 10000.00 | 10000.00
        100.00 102.00 100.00 100.00 |     | -4999 @ 100.00, +4999 @ 101.51 |  2451.51 |  2451.51
        """,
        ends="terminated",
        costs={"spread_cost": 499.9},
        rules={"notional_fraction": 49.99, "max_exposure": 50.0},
    ),
    Golden(
        # The bar opens at 98: equity -500 is below 2,450 already. Out at 98.00 with a debt.
        "a gap through the stop-out level is filled at the open",
        """
        open   high   low    close  | act | deals          | balance  | equity
        100.00 100.00 100.00 100.00 |  1  |                | 10000.00 | 10000.00
        100.00 100.00 100.00 100.00 |  -  | +5000 @ 100.10 | 10000.00 |  9500.00
         98.00  99.00  97.00  99.00 |     | -5000 @ 98.00  |  -500.00 |  -500.00
        """,
        ends="terminated",
        rules={"notional_fraction": 50.0, "max_exposure": 50.0},
    ),
    Golden(
        # At the low 98.60 equity is exactly the 2,500 of the stop-out level: still alive.
        "equity exactly at the stop-out level is not stopped out",
        """
        open   high   low    close  | act | deals          | balance  | equity
        100.00 100.00 100.00 100.00 |  1  |                | 10000.00 | 10000.00
        100.00 100.00  98.60 100.00 |  -  | +5000 @ 100.10 | 10000.00 |  9500.00
        100.00 100.00 100.00 100.00 |  0  |                | 10000.00 |  9500.00
        100.00 100.00 100.00 100.00 |  0  | -5000 @ 100.00 |  9500.00 |  9500.00
        100.00 100.00 100.00 100.00 |     |                |  9500.00 |  9500.00
        """,
        rules={"notional_fraction": 50.0, "max_exposure": 50.0},
    ),
    Golden(
        # Leverage 10: 10,000 pay for 100,000, 1,000 steps at 100. The open at 110 asks for
        # 1,000 * 110.10 / 10 = 11,010 of margin: refused whole. 0.2 of 20 * 10,000 / 110 is 363.
        "no money at the open refuses the increase",
        """
        open   high   low    close  | act | deals         | balance  | equity
        100.00 100.00 100.00 100.00 |  1  |               | 10000.00 | 10000.00
        110.00 110.00 110.00 110.00 | .2  |               | 10000.00 | 10000.00
        110.00 110.00 110.00 110.00 |  0  | +363 @ 110.10 | 10000.00 |  9963.70
        110.00 110.00 110.00 110.00 |  0  | -363 @ 110.00 |  9963.70 |  9963.70
        110.00 110.00 110.00 110.00 |     |               |  9963.70 |  9963.70
        """,
        reasons={1: "not enough money", 2: "allowed"},
        rules={"notional_fraction": 20.0, "max_exposure": 20.0, "leverage": 10.0},
    ),
    Golden(
        # 20 times the equity is wanted and 10 affordable: the reason is the margin.
        "the free margin reduces the order before it is sent",
        """
        open   high   low    close  | act | deals         | balance  | equity
        100.00 100.00 100.00 100.00 | -1  |               | 10000.00 | 10000.00
        100.00 100.00 100.00 100.00 |  0  | -1000 @ 100.00 | 10000.00 |  9900.00
        100.00 100.00 100.00 100.00 |  0  | +1000 @ 100.10 |  9900.00 |  9900.00
        100.00 100.00 100.00 100.00 |  0  |               |  9900.00 |  9900.00
        100.00 100.00 100.00 100.00 |     |               |  9900.00 |  9900.00
        """,
        reasons={1: "reduced to the free margin"},
        rules={"notional_fraction": 20.0, "max_exposure": 20.0, "leverage": 10.0},
    ),
    Golden(
        # Long 200, then short 998 asked for at 100. The open at 111 asks for 998 * 111 / 10 =
        # 11,077.80 of margin; the closed half has brought 200 * 10.90 and 12,180 are there.
        "a flip that its own profit pays for goes through",
        """
        open   high   low    close  | act | deals                        | balance  | equity
        100.00 100.00 100.00 100.00 | .1  |                              | 10000.00 | 10000.00
        100.00 100.00 100.00 100.00 | -1  | +200 @ 100.10                | 10000.00 |  9980.00
        111.00 111.00 111.00 111.00 |  0  | -200 @ 111.00, -998 @ 111.00 | 12180.00 | 12080.20
        111.00 111.00 111.00 111.00 |  0  | +998 @ 111.10                | 12080.20 | 12080.20
        111.00 111.00 111.00 111.00 |     |                              | 12080.20 | 12080.20
        """,
        rules={"notional_fraction": 20.0, "max_exposure": 20.0, "leverage": 10.0},
    ),
    Golden(
        # Short 200; long 998 asked for at 100. At 111 the loss is 200 * 11.10 = 2,220: the
        # reduction leaves 7,780 of equity, and 998 * 111.10 / 10 = 11,087.78 is too much.
        "a flip without money for the second half is a reduction",
        """
        open   high   low    close  | act | deals         | balance  | equity
        100.00 100.00 100.00 100.00 | -.1 |               | 10000.00 | 10000.00
        100.00 100.00 100.00 100.00 |  1  | -200 @ 100.00 | 10000.00 |  9980.00
        111.00 111.00 111.00 111.00 |  0  | +200 @ 111.10 |  7780.00 |  7780.00
        111.00 111.00 111.00 111.00 |  0  |               |  7780.00 |  7780.00
        111.00 111.00 111.00 111.00 |     |               |  7780.00 |  7780.00
        """,
        reasons={2: "not enough money"},
        rules={"notional_fraction": 20.0, "max_exposure": 20.0, "leverage": 10.0},
    ),
    Golden(
        # 100 * (98.50 - 100.10) = -160: 1.6 % of the day's 10,000 trips LEVEL_1. Of 9,840 / 98.5 =
        # 99.9 steps half are allowed: 51 go, 49 stay and are left alone. 51 * -1.60 = -81.60.
        "LEVEL_1 shrinks what is asked for, once",
        """
        open   high   low    close  | act | deals                    | balance  | equity
        100.00 100.00 100.00 100.00 |  1  |                          | 10000.00 | 10000.00
        100.00 100.00  98.50  98.50 |  1  | +100 @ 100.10            | 10000.00 |  9840.00
         98.50  98.50  98.50  98.50 |  1  | -51 @ 98.50              |  9918.40 |  9840.00
         98.50  98.50  98.50  98.50 | -1  |                          |  9918.40 |  9840.00
         98.50  98.50  98.50  98.50 |     | -49 @ 98.50, -49 @ 98.50 |  9840.00 |  9835.10
        """,
        levels={1: 1, 2: 1, 4: 1},
        rules={
            "daily_loss_level_1": 0.01,
            "daily_loss_level_2": 0.02,
            "daily_loss_level_3": 0.03,
        },
    ),
    Golden(
        # NaN keeps the 100 steps bar after bar: LEVEL_1 shrinks orders, not what is held.
        "LEVEL_1 leaves alone what nobody touches",
        """
        open   high   low    close  | act | deals         | balance  | equity
        100.00 100.00 100.00 100.00 |  1  |               | 10000.00 | 10000.00
        100.00 100.00  98.50  98.50 |  -  | +100 @ 100.10 | 10000.00 |  9840.00
         98.50  98.50  98.50  98.50 |  -  |               | 10000.00 |  9840.00
         98.50  98.50  98.50  98.50 |  -  |               | 10000.00 |  9840.00
         98.50  98.50  98.50  98.50 |     |               | 10000.00 |  9840.00
        """,
        levels={1: 1, 4: 1},
        rules={
            "daily_loss_level_1": 0.01,
            "daily_loss_level_2": 0.02,
            "daily_loss_level_3": 0.03,
        },
    ),
    Golden(
        # -260 is 2.6 %: LEVEL_2. Half of 9,740 / 97.5 = 99.9 is 49 steps, a reduction, allowed;
        # going back up is not, nor is the other side: that closes. 51 * -2.60 = -132.60.
        "LEVEL_2 only lets positions shrink",
        """
        open   high   low    close  | act | deals         | balance  | equity
        100.00 100.00 100.00 100.00 |  1  |               | 10000.00 | 10000.00
        100.00 100.00  97.50  97.50 | 0.5 | +100 @ 100.10 | 10000.00 |  9740.00
         97.50  97.50  97.50  97.50 |  1  | -51 @ 97.50   |  9867.40 |  9740.00
         97.50  97.50  97.50  97.50 | -1  |               |  9867.40 |  9740.00
         97.50  97.50  97.50  97.50 |     | -49 @ 97.50   |  9740.00 |  9740.00
        """,
        levels={1: 2, 4: 2},
        reasons={3: "circuit breaker", 4: "circuit breaker"},
        rules={
            "daily_loss_level_1": 0.01,
            "daily_loss_level_2": 0.02,
            "daily_loss_level_3": 0.03,
        },
    ),
    Golden(
        # -360 is 3.6 %: LEVEL_3 flattens at the next open, whatever is asked, and ends it.
        "LEVEL_3 flattens at the next open and then terminates",
        """
        open   high   low    close  | act | deals         | balance  | equity
        100.00 100.00 100.00 100.00 |  1  |               | 10000.00 | 10000.00
        100.00 100.00  96.50  96.50 |  1  | +100 @ 100.10 | 10000.00 |  9640.00
         97.00  97.00  95.00  95.00 |     | -100 @ 97.00  |  9690.00 |  9690.00
        """,
        ends="terminated",
        levels={1: 3, 2: 3},
        reasons={2: "circuit breaker"},
        rules={
            "daily_loss_level_1": 0.01,
            "daily_loss_level_2": 0.02,
            "daily_loss_level_3": 0.03,
        },
    ),
    Golden(
        # LEVEL_2 at Tuesday 23:00 closes and forbids the short; midnight's bar is still decided
        # the evening before. At its close the new day has begun at NORMAL: 9,740 / 97.5 = 99.
        "a new day on the broker's clock begins at NORMAL",
        """
        open   high   low    close  | act | deals         | balance  | equity
        100.00 100.00 100.00 100.00 |  1  |               | 10000.00 | 10000.00
        100.00 100.00  97.50  97.50 | -1  | +100 @ 100.10 | 10000.00 |  9740.00
         97.50  97.50  97.50  97.50 | -1  | -100 @ 97.50  |  9740.00 |  9740.00
         97.50  97.50  97.50  97.50 |  -  | -99 @ 97.50   |  9740.00 |  9730.10
         97.50  97.50  97.50  97.50 |     |               |  9740.00 |  9730.10
        """,
        levels={1: 2, 2: 0, 4: 0},
        market={"start": "2024-01-02T22:00"},
        rules={
            "daily_loss_level_1": 0.01,
            "daily_loss_level_2": 0.02,
            "daily_loss_level_3": 0.03,
        },
    ),
    Golden(
        # 100 * (99.30 - 100.10) = -80 before midnight, 220 in all: 2.2 % of the start would be
        # LEVEL_2, but 140 of the 9,920 at midnight are 1.41 % and not even LEVEL_1.
        "the day's loss is counted from the day's start",
        """
        open   high   low    close  | act | deals         | balance  | equity
        100.00 100.00 100.00 100.00 |  1  |               | 10000.00 | 10000.00
        100.00 100.00  99.30  99.30 |  -  | +100 @ 100.10 | 10000.00 |  9920.00
         99.30  99.30  97.90  97.90 |  -  |               | 10000.00 |  9780.00
         97.90  97.90  97.90  97.90 |  0  |               | 10000.00 |  9780.00
         97.90  97.90  97.90  97.90 |     | -100 @ 97.90  |  9780.00 |  9780.00
        """,
        levels={1: 0, 2: 0, 4: 0},
        market={"start": "2024-01-02T22:00"},
        rules={
            "daily_loss_level_1": 0.015,
            "daily_loss_level_2": 0.02,
            "daily_loss_level_3": 0.03,
        },
    ),
    Golden(
        # One step is 1,000 USD: 10 steps. Bought at 150.01, worth 10 * 1,000 * 0.99 JPY at 151,
        # and a yen is 1 / 151 USD there: 65.56. Sold at 151: the same.
        "profit in yen is converted at the rate of the moment",
        """
        open    high    low     close   | act | deals         | balance  | equity
        150.000 150.000 150.000 150.000 |  1  |               | 10000.00 | 10000.00
        150.000 151.000 150.000 151.000 |  -  | +10 @ 150.01  | 10000.00 | 10065.56
        151.000 151.000 151.000 151.000 |  0  |               | 10000.00 | 10065.56
        151.000 151.000 151.000 151.000 |  0  | -10 @ 151.00  | 10065.56 | 10065.56
        151.000 151.000 151.000 151.000 |     |               | 10065.56 | 10065.56
        """,
        # 10 * 1,000 * 0.010 / 150, for it is paid at the open
        costs={"spread_cost": 0.6666666666666666},
        spec={
            "asset_class": "forex",
            "base": "USD",
            "quote": "JPY",
            "contract_size": 100_000,
            "tick_size": 0.001,
            "digits": 3,
        },
    ),
    Golden(
        # A tick of 0.25 with two digits: 10 points of spread are less than a tick, and a tick is
        # the least there is. 10,000 / 100 = 100 steps of 1 USD.
        "prices move in ticks and a spread is at least one",
        """
        open   high   low    close  | act | deals         | balance  | equity
        100.00 100.00 100.00 100.00 |  1  |               | 10000.00 | 10000.00
        100.25 100.25 100.25 100.25 |  0  | +100 @ 100.50 | 10000.00 |  9975.00
        100.75 100.75 100.75 100.75 |  0  | -100 @ 100.75 | 10025.00 | 10025.00
        100.75 100.75 100.75 100.75 |  0  |               | 10025.00 | 10025.00
        100.75 100.75 100.75 100.75 |     |               | 10025.00 | 10025.00
        """,
        spec={"tick_size": 0.25},
        costs={"spread_cost": 25.0},
    ),
    Golden(
        "the end of the data is truncated with the position open",
        """
        open   high   low    close  | act | deals        | balance  | equity
        100.00 100.00 100.00 100.00 | 0.1 |              | 10000.00 | 10000.00
        100.00 101.00 100.00 101.00 |     | +10 @ 100.10 | 10000.00 | 10009.00
        """,
        ends="truncated",
    ),
)


@dataclass(frozen=True)
class Row:
    """One parsed line of a table."""

    prices: list[float]
    action: float
    deals: list[tuple[int, float]]
    balance: float
    equity: float


def parse(table: str) -> list[Row]:
    lines = [line for line in table.strip().splitlines()][1:]
    rows = []
    for line in lines:
        prices, action, deals, balance, equity = (cell.strip() for cell in line.split("|"))
        rows.append(
            Row(
                [float(price) for price in prices.split()],
                float("nan") if action in ("-", "") else float(action),
                [
                    (int(steps), float(price))
                    for steps, price in (d.split("@") for d in deals.split(",") if d)
                ],
                float(balance),
                float(equity),
            )
        )
    return rows


@pytest.mark.parametrize("market", MARKETS, ids=lambda market: market.name)
def test_golden_market(market, toy_spec, toy_bars, toy_tape):
    rows = parse(market.table)
    bars = toy_bars([row.prices for row in rows], **market.market)
    tape = toy_tape(bars, toy_spec(**market.spec), **market.rules)
    simulator = Simulator(tape)
    simulator.place(0, 0, len(rows) - 1, tape.rules["capital"][0])
    book, account = simulator.book, simulator.book.account[0]
    for t, row in enumerate(rows[1:], start=1):
        before = rows[t - 1]
        _, _, status = simulator.step_lane(0, np.array([[before.action]], np.float32))
        deals = [(int(d["steps"]), float(d["price"])) for d in book.deals[0, : account["n_deals"]]]
        assert deals == [(steps, pytest.approx(price, abs=1e-9)) for steps, price in row.deals], t
        assert account["balance"] == pytest.approx(row.balance, abs=1e-9), t
        assert account["equity"] == pytest.approx(row.equity, abs=5.1e-3), t
        if t in market.reasons:
            assert REASONS[book.positions[0, 0]["reason"]] == market.reasons[t], t
        if t in market.levels:
            assert account["level"] == market.levels[t], t
        assert ENDS[status] == ("running" if t < len(rows) - 1 else market.ends), t
    for name, paid in market.costs.items():
        assert account[name] == pytest.approx(paid, abs=1e-9), name


@pytest.mark.parametrize(("action", "price"), [(1.0, 98.60), (-1.0, 101.50)])
@pytest.mark.parametrize("cents", range(1, 140, 6))
def test_a_stop_out_on_a_tick_is_not_pushed_beside_it(toy_bars, toy_tape, action, price, cents):
    """5,000 steps are out at equity 2,500, reached at the bid 98.60 or 101.40 however far it goes.

    Long 10,000 + 5,000 * (98.60 - 100.10), short 10,000 + 5,000 * (100 - 101.50).
    """
    beyond = 98.60 - cents / 100 if action > 0 else 101.40 + cents / 100
    bars = toy_bars([(100.0,) * 4, (100.0, max(100.0, beyond), min(100.0, beyond), 100.0)])
    simulator = Simulator(toy_tape(bars, notional_fraction=50.0, max_exposure=50.0))
    simulator.place(0, 0, 1, 10_000.0)
    assert simulator.step_lane(0, np.array([[action]], np.float32))[2] == TERMINATED
    assert simulator.book.deals["price"][0, 1] == pytest.approx(price, abs=1e-9)
    assert simulator.book.account["balance"][0] == pytest.approx(2_500.0, abs=1e-6)


def test_the_band_is_a_share_of_the_maximum_exposure(toy_bars, toy_tape):
    """Full size is 5,000 steps, the limit allows 500: a twentieth of full size is half of them."""
    tape = toy_tape(toy_bars([(100.0,) * 4] * 4), notional_fraction=50.0)
    simulator = Simulator(tape)
    simulator.place(0, 0, 3, 10_000.0)
    held = []
    for action in (1.0, 0.05, 0.05):
        simulator.step_lane(0, np.array([[action]], np.float32))
        held.append(int(simulator.book.positions["steps"][0, 0]))
    # The spread costs 50: full size is 4,975 steps and a twentieth 248.75.
    assert held == [500, 248, 248]

"""Small markets worked out by hand for stops, targets, latency and stop-out.

One row is one bar. ``act`` is decided at that bar's close and filled at the next bar's open; ``-``
is NaN, which keeps what is held. ``deals`` are signed lot steps @ price, with ``stop``, ``target``
or ``out`` (stop-out) where no order asked for them. Of two symbols, A and B, each has its own line;
``-`` for prices is no bar.

Before the table's first row stands a quiet bar at its open, so that ATR, the true range of the one
last bar, is known from the first row on. One lot step is worth 1 USD per 1.0 of price, the spread
is 0.10, the account holds 10,000 USD, and |action| = 1 is the notional of the whole equity. A long
bought at the open 100.00 has paid 100.10 and counts its stop and target from 100.00; a short has
got 100.00 and counts them from 100.10.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from mtquant.risk.reasons import REASONS
from mtquant.sim.kernel import RUNNING, TERMINATED, TRUNCATED
from mtquant.sim.simulator import Simulator

pytestmark = pytest.mark.nojit

ENDS = {RUNNING: "running", TERMINATED: "terminated", TRUNCATED: "truncated"}
UNASKED = {"protective stop": "stop", "target reached": "target", "stop-out": "out"}
DEAL = re.compile(r"([+-]\d+) @ ([\d.]+) ?([a-z]*)")

STOP = {"stop_atr": 1.0}
TAKE = {"take_atr": 1.0}
BOTH = {**STOP, **TAKE}
HALF_WAY = {"take_atr": 2.0, "partial_at": 0.5, "partial_share": 0.5}
LARGE = {"notional_fraction": 24.99, "max_exposure": 50.0}
LARGEST = {"notional_fraction": 50.0, "max_exposure": 50.0}


@dataclass(frozen=True)
class Golden:
    """One market.

    Attributes:
        name: Of the test.
        table: See the module's first lines.
        rules: Changes of the rules, ``slippage_points`` among them.
        spec: Changes of the contracts.
        market: Changes of the bars: ``spread``, ``start``.
        latency: Of the lane, in bars.
        ends: Status of the last step.
        levels: Expected breaker level by row.
        reasons: Expected reason of the last symbol by row.
    """

    name: str
    table: str
    rules: dict[str, Any] = field(default_factory=dict)
    spec: dict[str, Any] = field(default_factory=dict)
    market: dict[str, Any] = field(default_factory=dict)
    latency: float = 0.0
    ends: str = "truncated"
    levels: dict[int, int] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)


MARKETS = (
    # Stops.
    Golden(
        # 100.00 - 1.00. 100 * (99.00 - 100.10) = -110, though the bar goes on to 98.80.
        "a stop is hit inside the bar",
        """
        open   high   low    close  | act | deals             | balance  | equity
        100.00 100.50  99.50 100.00 |  1  |                   | 10000.00 | 10000.00
        100.00 100.20  99.30  99.50 |  -  | +100 @ 100.10     | 10000.00 |  9940.00
         99.50  99.60  98.80  99.20 |  -  | -100 @ 99.00 stop |  9890.00 |  9890.00
         99.20  99.30  99.10  99.20 |  -  |                   |  9890.00 |  9890.00
        """,
        STOP,
    ),
    Golden(
        "a stop acts in the bar that bought",
        """
        open   high   low    close  | act | deals                            | balance  | equity
        100.00 100.50  99.50 100.00 |  1  |                                  | 10000.00 | 10000.00
        100.00 100.20  98.90  99.90 |  -  | +100 @ 100.10, -100 @ 99.00 stop |  9890.00 |  9890.00
        """,
        STOP,
    ),
    Golden(
        # 100.10 + 1.00 on the ask: the bid 100.99 leaves it a tick away, 101.00 reaches it.
        "a short's stop is hit by the ask",
        """
        open   high   low    close  | act | deals              | balance  | equity
        100.00 100.50  99.50 100.00 |  -1 |                    | 10000.00 | 10000.00
        100.00 100.99 100.00 100.80 |  -  | -100 @ 100.00      | 10000.00 |  9910.00
        100.80 101.00 100.50 100.50 |  -  | +100 @ 101.10 stop |  9890.00 |  9890.00
        """,
        STOP,
    ),
    Golden(
        # The bid stays where it is; 100.00 + 1.00 is the ask at the open, 101.20 at the high.
        "a wide spread alone hits a short's stop",
        """
        open   high   low    close  | act | deals              | balance  | equity
        100.00 100.50  99.50 100.00 |  -1 |                    | 10000.00 | 10000.00
        100.00 100.00 100.00 100.00 |  -  | -100 @ 100.00      | 10000.00 |  9990.00
        100.00 100.20 100.00 100.00 |  -  | +100 @ 101.10 stop |  9890.00 |  9890.00
        """,
        STOP,
        market={"spread": [10, 10, 10, 100]},
    ),
    Golden(
        # The ask opens at 102.00, beyond 101.10.
        "a gap of the spread alone goes through a short's stop",
        """
        open   high   low    close  | act | deals              | balance  | equity
        100.00 100.50  99.50 100.00 |  -1 |                    | 10000.00 | 10000.00
        100.00 100.00 100.00 100.00 |  -  | -100 @ 100.00      | 10000.00 |  9990.00
        100.00 100.20 100.00 100.00 |  -  | +100 @ 102.00 stop |  9800.00 |  9800.00
        """,
        STOP,
        market={"spread": [10, 10, 10, 200]},
    ),
    Golden(
        "a gap through the stop fills at the open",
        """
        open   high   low    close  | act | deals             | balance  | equity
        100.00 100.50  99.50 100.00 |  1  |                   | 10000.00 | 10000.00
        100.00 100.20  99.50  99.80 |  -  | +100 @ 100.10     | 10000.00 |  9970.00
         98.50  98.90  98.20  98.60 |  -  | -100 @ 98.50 stop |  9840.00 |  9840.00
        """,
        STOP,
    ),
    Golden(
        "a gap through a short's stop fills at the ask of the open",
        """
        open   high   low    close  | act | deals              | balance  | equity
        100.00 100.50  99.50 100.00 |  -1 |                    | 10000.00 | 10000.00
        100.00 100.40 100.00 100.40 |  -  | -100 @ 100.00      | 10000.00 |  9950.00
        101.50 101.60 101.40 101.40 |  -  | +100 @ 101.60 stop |  9840.00 |  9840.00
        """,
        STOP,
    ),
    Golden(
        "a low exactly at the stop hits it",
        """
        open   high   low    close  | act | deals             | balance  | equity
        100.00 100.50  99.50 100.00 |  1  |                   | 10000.00 | 10000.00
        100.00 100.20  99.50  99.60 |  -  | +100 @ 100.10     | 10000.00 |  9950.00
         99.60  99.70  99.00  99.60 |  -  | -100 @ 99.00 stop |  9890.00 |  9890.00
        """,
        STOP,
    ),
    Golden(
        "a low one tick above the stop does not",
        """
        open   high   low    close  | act | deals         | balance  | equity
        100.00 100.50  99.50 100.00 |  1  |               | 10000.00 | 10000.00
        100.00 100.20  99.01  99.60 |  -  | +100 @ 100.10 | 10000.00 |  9950.00
         99.60  99.80  99.01  99.70 |  -  |               | 10000.00 |  9960.00
        """,
        STOP,
    ),
    Golden(
        # Half of 1.01 is 50.5 ticks: 51, so the stop stands at 99.49.
        "a distance is rounded up to ticks",
        """
        open   high   low    close  | act | deals             | balance  | equity
        100.00 100.51  99.50 100.00 |  1  |                   | 10000.00 | 10000.00
        100.00 100.20  99.50  99.60 |  -  | +100 @ 100.10     | 10000.00 |  9950.00
         99.60  99.70  99.40  99.60 |  -  | -100 @ 99.49 stop |  9939.00 |  9939.00
        """,
        {"stop_atr": 0.5},
    ),
    Golden(
        # Bought at 100.15; the stop counts from 100.00 and its sale is worth 99.00 - 0.05.
        "a stop pays slippage, but does not count from it",
        """
        open   high   low    close  | act | deals             | balance  | equity
        100.00 100.50  99.50 100.00 |  1  |                   | 10000.00 | 10000.00
        100.00 100.20  99.01  99.50 |  -  | +100 @ 100.15     | 10000.00 |  9935.00
         99.50  99.60  99.00  99.20 |  -  | -100 @ 98.95 stop |  9880.00 |  9880.00
        """,
        {**STOP, "slippage_points": 5},
    ),
    Golden(
        # 98.50 - 0.05: 1.70 lost on each.
        "a gap pays slippage too",
        """
        open   high   low    close  | act | deals             | balance  | equity
        100.00 100.50  99.50 100.00 |  1  |                   | 10000.00 | 10000.00
        100.00 100.20  99.50  99.80 |  -  | +100 @ 100.15     | 10000.00 |  9965.00
         98.50  98.90  98.20  98.60 |  -  | -100 @ 98.45 stop |  9830.00 |  9830.00
        """,
        {**STOP, "slippage_points": 5},
    ),
    Golden(
        # 3.50 a lot and side: 10,000 - 3.50, then - 110 - 3.50.
        "a stop costs commission",
        """
        open   high   low    close  | act | deals             | balance  | equity
        100.00 100.50  99.50 100.00 |  1  |                   | 10000.00 | 10000.00
        100.00 100.20  99.30  99.50 |  -  | +100 @ 100.10     |  9996.50 |  9936.50
         99.50  99.60  98.80  99.20 |  -  | -100 @ 99.00 stop |  9883.00 |  9883.00
        """,
        STOP,
        spec={"commission_per_lot": 3.5},
    ),
    Golden(
        # The least distance 1.50 holds for both: 98.50 and 101.50, where ATR asks for 1.00.
        "the broker's stops level is the least distance",
        """
        open   high   low    close  | act | deals             | balance  | equity
        100.00 100.50  99.50 100.00 |  1  |                   | 10000.00 | 10000.00
        100.00 101.49  98.51 100.00 |  -  | +100 @ 100.10     | 10000.00 |  9990.00
        100.00 100.10  98.40  99.00 |  -  | -100 @ 98.50 stop |  9840.00 |  9840.00
        """,
        BOTH,
        spec={"stops_level_points": 150},
    ),
    Golden(
        # The first row does not move: there is no ATR to count in.
        "no ATR, no stop, whatever the stops level",
        """
        open   high   low    close  | act | deals         | balance  | equity
        100.00 100.00 100.00 100.00 |  1  |               | 10000.00 | 10000.00
        100.00 110.00  95.00  95.00 |  -  | +100 @ 100.10 | 10000.00 |  9490.00
         95.00  95.00  90.00  95.00 |  -  |               | 10000.00 |  9490.00
        """,
        BOTH,
        spec={"stops_level_points": 150},
    ),
    Golden(
        # An order is due at the open, where the stop would have closed too: it closes, and so
        # nothing waits: 9,840 / 98.60 are 99.
        "an order at the open comes before the stop",
        """
        open   high   low    close  | act | deals         | balance  | equity
        100.00 100.50  99.50 100.00 |  1  |               | 10000.00 | 10000.00
        100.00 100.20  99.50  99.80 |  0  | +100 @ 100.10 | 10000.00 |  9970.00
         98.50  98.90  98.20  98.60 |  1  | -100 @ 98.50  |  9840.00 |  9840.00
         98.60  98.60  98.60  98.60 |  -  | +99 @ 98.70   |  9840.00 |  9830.10
        """,
        STOP,
    ),
    # Targets.
    Golden(
        "a target is hit inside the bar",
        """
        open   high   low    close  | act | deals                | balance  | equity
        100.00 100.50  99.50 100.00 |  1  |                      | 10000.00 | 10000.00
        100.00 100.99  99.90 100.80 |  -  | +100 @ 100.10        | 10000.00 | 10070.00
        100.80 101.20 100.70 101.10 |  -  | -100 @ 101.00 target | 10090.00 | 10090.00
        """,
        TAKE,
    ),
    Golden(
        # 100.10 - 1.00 on the ask: the bid must reach 99.00.
        "a short's target is hit by the ask",
        """
        open   high   low    close  | act | deals               | balance  | equity
        100.00 100.50  99.50 100.00 |  -1 |                     | 10000.00 | 10000.00
        100.00 100.10  99.01  99.10 |  -  | -100 @ 100.00       | 10000.00 | 10080.00
         99.10  99.20  99.00  99.10 |  -  | +100 @ 99.10 target | 10090.00 | 10090.00
        """,
        TAKE,
    ),
    Golden(
        "a better open beyond the target is taken",
        """
        open   high   low    close  | act | deals                | balance  | equity
        100.00 100.50  99.50 100.00 |  1  |                      | 10000.00 | 10000.00
        100.00 100.50  99.90 100.40 |  -  | +100 @ 100.10        | 10000.00 | 10030.00
        101.50 101.60 101.20 101.30 |  -  | -100 @ 101.50 target | 10140.00 | 10140.00
        """,
        TAKE,
    ),
    Golden(
        "a better open beyond a short's target is taken at the ask",
        """
        open   high   low    close  | act | deals               | balance  | equity
        100.00 100.50  99.50 100.00 |  -1 |                     | 10000.00 | 10000.00
        100.00 100.10  99.50  99.50 |  -  | -100 @ 100.00       | 10000.00 | 10040.00
         98.50  98.60  98.40  98.50 |  -  | +100 @ 98.60 target | 10140.00 | 10140.00
        """,
        TAKE,
    ),
    Golden(
        # 101.00 - 0.05 against 100.15: 0.80.
        "a target pays slippage",
        """
        open   high   low    close  | act | deals                | balance  | equity
        100.00 100.50  99.50 100.00 |  1  |                      | 10000.00 | 10000.00
        100.00 100.90  99.90 100.80 |  -  | +100 @ 100.15        | 10000.00 | 10065.00
        100.80 101.20 100.70 101.10 |  -  | -100 @ 100.95 target | 10080.00 | 10080.00
        """,
        {**TAKE, "slippage_points": 5},
    ),
    # Both.
    Golden(
        "where both are touched the stop came first",
        """
        open   high   low    close  | act | deals             | balance  | equity
        100.00 100.50  99.50 100.00 |  1  |                   | 10000.00 | 10000.00
        100.00 100.20  99.90 100.00 |  -  | +100 @ 100.10     | 10000.00 |  9990.00
        100.00 101.50  98.50 100.50 |  -  | -100 @ 99.00 stop |  9890.00 |  9890.00
        """,
        BOTH,
    ),
    Golden(
        "where a short's are both touched the stop came first",
        """
        open   high   low    close  | act | deals              | balance  | equity
        100.00 100.50  99.50 100.00 |  -1 |                    | 10000.00 | 10000.00
        100.00 100.20  99.90 100.00 |  -  | -100 @ 100.00      | 10000.00 |  9990.00
        100.00 101.50  98.50 100.50 |  -  | +100 @ 101.10 stop |  9890.00 |  9890.00
        """,
        BOTH,
    ),
    Golden(
        "an open beyond the target closes there, though the bar then falls to the stop",
        """
        open   high   low    close  | act | deals                | balance  | equity
        100.00 100.50  99.50 100.00 |  1  |                      | 10000.00 | 10000.00
        100.00 100.20  99.90 100.00 |  -  | +100 @ 100.10        | 10000.00 |  9990.00
        101.30 101.30  98.50  98.60 |  -  | -100 @ 101.30 target | 10120.00 | 10120.00
        """,
        BOTH,
    ),
    Golden(
        # The ask opens at 98.90, below 99.10; its high is 101.60, above 101.10.
        "an open beyond a short's target closes there, though the bar then rises to the stop",
        """
        open   high   low    close  | act | deals               | balance  | equity
        100.00 100.50  99.50 100.00 |  -1 |                     | 10000.00 | 10000.00
        100.00 100.20  99.90 100.00 |  -  | -100 @ 100.00       | 10000.00 |  9990.00
         98.80 101.50  98.80 101.40 |  -  | +100 @ 98.90 target | 10110.00 | 10110.00
        """,
        BOTH,
    ),
    # Orders and stops.
    Golden(
        # Decided on a range of 1.50: 100.10 + 1.50 = 101.60 on the ask, hit by the bid 101.50.
        # 99 * -1.60 = -158.40.
        "a flip sets a new stop",
        """
        open   high   low    close  | act | deals                       | balance  | equity
        100.00 100.50  99.50 100.00 |  1  |                             | 10000.00 | 10000.00
        100.00 100.60  99.10 100.00 |  -1 | +100 @ 100.10               | 10000.00 |  9990.00
        100.00 101.49  99.00 101.00 |  -  | -100 @ 100.00, -99 @ 100.00 |  9990.00 |  9881.10
        101.00 101.50 101.00 101.00 |  -  | +99 @ 101.60 stop           |  9831.60 |  9831.60
        """,
        STOP,
    ),
    Golden(
        # 50 at 100.10 and 49 at 101.60; the stop of all 99 is 101.50 - 1.20 = 100.30.
        # 99 * 101.00 - 9,983.40 = 15.60; 99 * 100.30 - 9,983.40 = -53.70.
        "an increase sets one stop for the whole position",
        """
        open   high   low    close  | act | deals             | balance  | equity
        100.00 100.50  99.50 100.00 |  .5 |                   | 10000.00 | 10000.00
        100.00 101.20 100.00 101.00 |  1  | +50 @ 100.10      | 10000.00 | 10045.00
        101.50 101.60 100.50 101.00 |  -  | +49 @ 101.60      | 10000.00 | 10015.60
        101.00 101.10 100.20 100.40 |  -  | -99 @ 100.30 stop |  9946.30 |  9946.30
        """,
        STOP,
    ),
    Golden(
        # A range of 2.90 puts it to 97.10; 98.00 would have been the end of the first 50.
        "an increase may move the stop away",
        """
        open   high   low    close  | act | deals            | balance  | equity
        100.00 100.50  99.50 100.00 |  .5 |                  | 10000.00 | 10000.00
        100.00 102.00  99.10 100.00 |  1  | +50 @ 100.10     | 10000.00 |  9995.00
        100.00 100.10  98.00  99.00 |  -  | +49 @ 100.10     | 10000.00 |  9891.10
         99.00  99.00  97.00  97.50 |  -  | -99 @ 97.10 stop |  9703.00 |  9703.00
        """,
        STOP,
    ),
    Golden(
        # Still 99.00; from the reduction's 100.20 the range of 1.40 would have made it 98.80.
        "a reduction leaves the stop",
        """
        open   high   low    close  | act | deals            | balance  | equity
        100.00 100.50  99.50 100.00 |  1  |                  | 10000.00 | 10000.00
        100.00 101.00  99.60 100.00 |  .5 | +100 @ 100.10    | 10000.00 |  9990.00
        100.20 100.40  99.50 100.00 |  -  | -51 @ 100.20     | 10005.10 | 10000.20
        100.00 100.10  98.90  99.20 |  -  | -49 @ 99.00 stop |  9951.20 |  9951.20
        """,
        STOP,
    ),
    Golden(
        # 99 are wanted; the open is below 99.00. 50 * (98.80 - 100.10) = -65.
        "an increase is refused where the open has passed the stop",
        """
        open   high   low    close  | act | deals            | balance  | equity
        100.00 100.50  99.50 100.00 |  .5 |                  | 10000.00 | 10000.00
        100.00 100.20  99.40 100.00 |  1  | +50 @ 100.10     | 10000.00 |  9995.00
         98.80  99.50  98.70  99.40 |  -  | -50 @ 98.80 stop |  9935.00 |  9935.00
        """,
        STOP,
        reasons={2: "the open has passed the stop or target"},
    ),
    Golden(
        # The ask opens at 101.10, where the stop stands.
        "an increase of a short is refused where the ask opens at the stop",
        """
        open   high   low    close  | act | deals             | balance  | equity
        100.00 100.50  99.50 100.00 | -.5 |                   | 10000.00 | 10000.00
        100.00 100.20  99.40 100.00 |  -1 | -50 @ 100.00      | 10000.00 |  9995.00
        101.00 101.00 100.50 100.50 |  -  | +50 @ 101.10 stop |  9945.00 |  9945.00
        """,
        STOP,
        reasons={2: "the open has passed the stop or target"},
    ),
    Golden(
        # 50 * 0.70 = 35: 10,035 / 100.80 = 99. The open 101.30 is beyond 101.00.
        "an increase is refused where the open has passed the target",
        """
        open   high   low    close  | act | deals               | balance  | equity
        100.00 100.50  99.50 100.00 |  .5 |                     | 10000.00 | 10000.00
        100.00 100.90 100.00 100.80 |  1  | +50 @ 100.10        | 10000.00 | 10035.00
        101.30 101.50 101.20 101.40 |  -  | -50 @ 101.30 target | 10060.00 | 10060.00
        """,
        TAKE,
        reasons={2: "the open has passed the stop or target"},
    ),
    Golden(
        # 9,990 / 100 / 2 = 49 stay. 51 * -1.30 = -66.30 by the order, 49 * -1.30 by the stop.
        "a reduction is filled where the open has passed the stop, and the rest is stopped",
        """
        open   high   low    close  | act | deals                         | balance  | equity
        100.00 100.50  99.50 100.00 |  1  |                               | 10000.00 | 10000.00
        100.00 100.20  99.40 100.00 |  .5 | +100 @ 100.10                 | 10000.00 |  9990.00
         98.80  99.50  98.70  99.40 |  -  | -51 @ 98.80, -49 @ 98.80 stop |  9870.00 |  9870.00
        """,
        STOP,
    ),
    Golden(
        # 0.80 won, half of the range is 0.70: the stop goes to 100.10, and the open is beyond it.
        # No broker would take it: all 100 are closed at once, and the reduction has nothing left.
        "a moved stop that the open has passed outranks a reduction",
        """
        open   high   low    close  | act | deals                         | balance  | equity
        100.00 100.50  99.50 100.00 |  1  |                               | 10000.00 | 10000.00
        100.00 101.00  99.60 100.90 | .5  | +100 @ 100.10                 | 10000.00 | 10080.00
         99.80 100.00  99.60  99.90 |  -  | -100 @ 99.80 stop             |  9970.00 |  9970.00
        """,
        {**STOP, "break_even_atr": 0.5},
    ),
    Golden(
        # The 50 are closed at 98.80 and 99 sold; their stop is 98.90 + 0.80 on the ask.
        # 99 * (98.80 - 99.50) = -69.30.
        "a flip is filled where the open has passed the old stop",
        """
        open   high   low    close  | act | deals                    | balance  | equity
        100.00 100.50  99.50 100.00 |  .5 |                          | 10000.00 | 10000.00
        100.00 100.20  99.40 100.00 |  -1 | +50 @ 100.10             | 10000.00 |  9995.00
         98.80  99.50  98.70  99.40 |  -  | -50 @ 98.80, -99 @ 98.80 |  9935.00 |  9865.70
        """,
        STOP,
    ),
    # Re-entry.
    Golden(
        # Zero in the third row ends the wait; 9,890 / 99 = 99 steps, the stop is at 98.60.
        "after a stop the same side waits until the action is zero",
        """
        open   high   low    close  | act | deals                            | balance  | equity
        100.00 100.50  99.50 100.00 |  1  |                                  | 10000.00 | 10000.00
        100.00 100.20  98.90  99.00 |  1  | +100 @ 100.10, -100 @ 99.00 stop |  9890.00 |  9890.00
         99.00  99.20  98.80  99.00 |  0  |                                  |  9890.00 |  9890.00
         99.00  99.20  98.80  99.00 |  1  |                                  |  9890.00 |  9890.00
         99.00  99.20  98.80  99.00 |  -  | +99 @ 99.10                      |  9890.00 |  9880.10
        """,
        STOP,
        reasons={2: "waiting after a stop"},
    ),
    Golden(
        "neither silence nor a smaller action of the same sign ends the wait",
        """
        open   high   low    close  | act | deals                            | balance  | equity
        100.00 100.50  99.50 100.00 |  1  |                                  | 10000.00 | 10000.00
        100.00 100.20  98.90  99.00 |  -  | +100 @ 100.10, -100 @ 99.00 stop |  9890.00 |  9890.00
         99.00  99.20  98.80  99.00 |  .5 |                                  |  9890.00 |  9890.00
         99.00  99.20  98.80  99.00 |  1  |                                  |  9890.00 |  9890.00
         99.00  99.20  98.80  99.00 |  -  |                                  |  9890.00 |  9890.00
        """,
        STOP,
        reasons={3: "waiting after a stop", 4: "waiting after a stop"},
    ),
    Golden(
        # The short goes through at once (its stop: 99.10 + 1.30), and then so does the long.
        "the other sign is no re-entry, and ends the wait",
        """
        open   high   low    close  | act | deals                            | balance  | equity
        100.00 100.50  99.50 100.00 |  1  |                                  | 10000.00 | 10000.00
        100.00 100.20  98.90  99.00 |  -1 | +100 @ 100.10, -100 @ 99.00 stop |  9890.00 |  9890.00
         99.00  99.20  98.80  99.00 |  1  | -99 @ 99.00                      |  9890.00 |  9880.10
         99.00  99.20  98.80  99.00 |  -  | +99 @ 99.10, +99 @ 99.10         |  9880.10 |  9870.20
        """,
        STOP,
    ),
    Golden(
        # Stopped in the second row; two bars have closed since at the close of the fourth.
        "after reentry_bars the same side may enter again",
        """
        open   high   low    close  | act | deals                            | balance  | equity
        100.00 100.50  99.50 100.00 |  1  |                                  | 10000.00 | 10000.00
        100.00 100.20  98.90  99.00 |  1  | +100 @ 100.10, -100 @ 99.00 stop |  9890.00 |  9890.00
         99.00  99.20  98.80  99.00 |  1  |                                  |  9890.00 |  9890.00
         99.00  99.20  98.80  99.00 |  1  |                                  |  9890.00 |  9890.00
         99.00  99.20  98.80  99.00 |  -  | +99 @ 99.10                      |  9890.00 |  9880.10
        """,
        {**STOP, "reentry_bars": 2},
    ),
    Golden(
        # The same for a short: stopped at 101.10 with -110; 9,890 / 101 = 97.
        "a stopped short waits too",
        """
        open   high   low    close  | act | deals                             | balance  | equity
        100.00 100.50  99.50 100.00 |  -1 |                                   | 10000.00 | 10000.00
        100.00 101.20  99.90 101.00 |  -1 | -100 @ 100.00, +100 @ 101.10 stop |  9890.00 |  9890.00
        101.00 101.20 100.80 101.00 |  1  |                                   |  9890.00 |  9890.00
        101.00 101.20 100.80 101.00 |  -  | +97 @ 101.10                      |  9890.00 |  9880.30
        """,
        STOP,
    ),
    Golden(
        # 10,090 / 101 = 99.
        "after a target nobody waits",
        """
        open   high   low    close  | a | deals                               | balance  | equity
        100.00 100.50  99.50 100.00 | 1 |                                     | 10000.00 | 10000.00
        100.00 101.20 100.00 101.00 | 1 | +100 @ 100.10, -100 @ 101.00 target | 10090.00 | 10090.00
        101.00 101.00 101.00 101.00 | - | +99 @ 101.10                        | 10090.00 | 10080.10
        """,
        TAKE,
    ),
    # Trailing and break-even.
    Golden(
        # 101.00 - 1.50 = 99.50; 103.00 - 2.00 = 101.00; 102.00 - 2.00 would be looser.
        "a trailing stop follows a long and never loosens",
        """
        open   high   low    close  | act | deals              | balance  | equity
        100.00 100.50  99.50 100.00 |  1  |                    | 10000.00 | 10000.00
        100.00 101.50 100.00 101.00 |  -  | +100 @ 100.10      | 10000.00 | 10090.00
        101.00 103.00 101.00 103.00 |  -  |                    | 10000.00 | 10290.00
        103.00 103.20 101.20 102.00 |  -  |                    | 10000.00 | 10190.00
        102.00 102.10 100.90 101.50 |  -  | -100 @ 101.00 stop | 10090.00 | 10090.00
        """,
        {"trail_atr": 1.0},
    ),
    Golden(
        # 99.10 + 1.50; 97.10 + 2.00 = 99.10, which the bid 99.00 reaches; 98.10 + 2.00 is looser.
        "a trailing stop follows a short on the ask and never loosens",
        """
        open   high   low    close  | act | deals             | balance  | equity
        100.00 100.50  99.50 100.00 |  -1 |                   | 10000.00 | 10000.00
        100.00 100.00  98.50  99.00 |  -  | -100 @ 100.00     | 10000.00 | 10090.00
         99.00  99.00  97.00  97.00 |  -  |                   | 10000.00 | 10290.00
         97.00  98.80  96.80  98.00 |  -  |                   | 10000.00 | 10190.00
         98.00  99.00  97.90  98.50 |  -  | +100 @ 99.10 stop | 10090.00 | 10090.00
        """,
        {"trail_atr": 1.0},
    ),
    Golden(
        # A quarter of 1.50 is 37.5 ticks: 101.00 - 0.38. It is not there in the bar that bought.
        "a trail is rounded up and begins at the close",
        """
        open   high   low    close  | act | deals              | balance  | equity
        100.00 100.50  99.50 100.00 |  1  |                    | 10000.00 | 10000.00
        100.00 101.50 100.00 101.00 |  -  | +100 @ 100.10      | 10000.00 | 10090.00
        101.00 101.10 100.60 100.80 |  -  | -100 @ 100.62 stop | 10052.00 | 10052.00
        """,
        {"trail_atr": 0.25},
    ),
    Golden(
        # The trail of 3 * 0.50 would stand at 98.70; 99.00 is tighter.
        "a trail does not loosen the first stop",
        """
        open   high   low    close  | act | deals             | balance  | equity
        100.00 100.50  99.50 100.00 |  1  |                   | 10000.00 | 10000.00
        100.00 100.30  99.80 100.20 |  -  | +100 @ 100.10     | 10000.00 | 10010.00
        100.20 100.30  98.95  99.50 |  -  | -100 @ 99.00 stop |  9890.00 |  9890.00
        """,
        {"stop_atr": 1.0, "trail_atr": 3.0},
    ),
    Golden(
        # 0.95 ranges: 1.14 against 1.10 won is too much, so 100.05 in the next bar does no harm;
        # 0.95 * 1.75 = 1.6625 against 1.70 is enough.
        "a stop goes to break-even once enough is won",
        """
        open   high   low    close  | act | deals              | balance  | equity
        100.00 100.50  99.50 100.00 |  1  |                    | 10000.00 | 10000.00
        100.00 101.20 100.00 101.20 |  -  | +100 @ 100.10      | 10000.00 | 10110.00
        101.20 101.80 100.05 101.80 |  -  |                    | 10000.00 | 10170.00
        101.80 101.80 100.00 100.50 |  -  | -100 @ 100.10 stop | 10000.00 | 10000.00
        """,
        {"stop_atr": 2.0, "break_even_atr": 0.95},
    ),
    Golden(
        # Won on the ask: 1.10 against 1.30, then exactly 1.80. The bid 99.90 is the ask 100.00.
        "a short goes to break-even on the ask",
        """
        open   high   low    close  | act | deals              | balance  | equity
        100.00 100.50  99.50 100.00 |  -1 |                    | 10000.00 | 10000.00
        100.00 100.00  98.70  98.80 |  -  | -100 @ 100.00      | 10000.00 | 10110.00
         98.80  99.80  98.00  98.10 |  -  |                    | 10000.00 | 10180.00
         98.10  99.90  98.10  99.00 |  -  | +100 @ 100.00 stop | 10000.00 | 10000.00
        """,
        {"stop_atr": 2.0, "break_even_atr": 1.0},
    ),
    Golden(
        # 9,983.40 / 99 = 100.8424: 100.85. 99 * 103.00 - 9,983.40 = 213.60; 99 * 100.85 = 9,984.15.
        "the entry of two fills is rounded to ticks in the position's favour",
        """
        open   high   low    close  | act | deals             | balance  | equity
        100.00 100.50  99.50 100.00 |  .5 |                   | 10000.00 | 10000.00
        100.00 101.20 100.00 101.00 |  1  | +50 @ 100.10      | 10000.00 | 10045.00
        101.50 103.00 101.50 103.00 |  -  | +49 @ 101.60      | 10000.00 | 10213.60
        103.00 103.00 100.80 101.00 |  -  | -99 @ 100.85 stop | 10000.75 | 10000.75
        """,
        {"break_even_atr": 1.0},
    ),
    # Partial close.
    Golden(
        # Half of the 1.90 from 100.10 to 102.00 is 101.05. 50 * 1.00 are taken; the rest is not
        # halved again, may not grow again, and is stopped at its entry.
        "half is closed half way to the target, once, and the rest is capped",
        """
        open   high   low    close  | act | deals             | balance  | equity
        100.00 100.50  99.50 100.00 |  1  |                   | 10000.00 | 10000.00
        100.00 101.10 100.00 101.04 |  -  | +100 @ 100.10     | 10000.00 | 10094.00
        101.04 101.20 100.05 101.10 |  -  |                   | 10000.00 | 10100.00
        101.10 101.20 101.00 101.10 |  1  | -50 @ 101.10      | 10050.00 | 10100.00
        101.10 101.20 101.00 101.10 |  -  |                   | 10050.00 | 10100.00
        101.10 101.20 100.00 101.00 |  -  | -50 @ 100.10 stop | 10050.00 | 10050.00
        """,
        HALF_WAY,
        reasons={3: "part taken on the way to the target"},
    ),
    Golden(
        "an action does not hold up a partial close, and the rest goes on to the target",
        """
        open   high   low    close  | act | deals               | balance  | equity
        100.00 100.50  99.50 100.00 |  1  |                     | 10000.00 | 10000.00
        100.00 101.20 100.00 101.10 |  1  | +100 @ 100.10       | 10000.00 | 10100.00
        101.10 101.20 101.00 101.10 |  1  | -50 @ 101.10        | 10050.00 | 10100.00
        101.10 102.10 101.00 101.50 |  -  | -50 @ 102.00 target | 10145.00 | 10145.00
        """,
        HALF_WAY,
    ),
    Golden(
        # From 100.00 to 98.10 on the ask: 99.05, the close exactly. 50 * 0.95; the rest is
        # stopped at the ask 100.00, the bid 99.90.
        "a short is halved on the ask",
        """
        open   high   low    close  | act | deals             | balance  | equity
        100.00 100.50  99.50 100.00 |  -1 |                   | 10000.00 | 10000.00
        100.00 100.00  98.90  98.95 |  -  | -100 @ 100.00     | 10000.00 | 10095.00
         98.95  99.00  98.90  98.90 |  -  | +50 @ 99.05       | 10047.50 | 10097.50
         98.90  99.90  98.90  99.50 |  -  | +50 @ 100.00 stop | 10047.50 | 10047.50
        """,
        HALF_WAY,
    ),
    Golden(
        # 0.29 of 100 is 29, which floats see as 28.999999999999996.
        "the part is a whole number of lot steps",
        """
        open   high   low    close  | act | deals         | balance  | equity
        100.00 100.50  99.50 100.00 |  1  |               | 10000.00 | 10000.00
        100.00 101.20 100.00 101.10 |  -  | +100 @ 100.10 | 10000.00 | 10100.00
        101.10 101.20 101.00 101.10 |  -  | -29 @ 101.10  | 10029.00 | 10100.00
        """,
        {**HALF_WAY, "partial_share": 0.29},
    ),
    Golden(
        # Half of 8 is below the least order of 5: nothing is closed and the stop stays away, so
        # 99.90 does no harm. 8 * 1.90 at the target.
        "a part below the smallest order is not taken",
        """
        open   high   low    close  | act  | deals              | balance  | equity
        100.00 100.50  99.50 100.00 | .085 |                    | 10000.00 | 10000.00
        100.00 101.20 100.00 101.10 |  -   | +8 @ 100.10        | 10000.00 | 10008.00
        101.10 101.20  99.90 100.50 |  -   |                    | 10000.00 | 10003.20
        100.50 102.00 100.50 101.00 |  -   | -8 @ 102.00 target | 10015.20 | 10015.20
        """,
        HALF_WAY,
        spec={"lot_min": 0.05},
    ),
    Golden(
        # 6 of 8 would leave 2.
        "a rest below the smallest order is not left",
        """
        open   high   low    close  | act  | deals       | balance  | equity
        100.00 100.50  99.50 100.00 | .085 |             | 10000.00 | 10000.00
        100.00 101.20 100.00 101.10 |  -   | +8 @ 100.10 | 10000.00 | 10008.00
        101.10 101.20  99.90 100.50 |  -   |             | 10000.00 | 10003.20
        """,
        {**HALF_WAY, "partial_share": 0.75},
        spec={"lot_min": 0.05},
    ),
    # Swap.
    Golden(
        # 20 points a lot are 20 a night; the bar of 23:00 carries it on what it has left.
        "what is stopped before the night pays no swap",
        """
        open   high   low    close  | act | deals                            | balance  | equity
        100.00 100.50  99.50 100.00 |  1  |                                  | 10000.00 | 10000.00
        100.00 100.20  98.90  99.00 |  -  | +100 @ 100.10, -100 @ 99.00 stop |  9890.00 |  9890.00
         99.00  99.00  99.00  99.00 |  -  |                                  |  9890.00 |  9890.00
        """,
        STOP,
        spec={"swap_mode": "points", "swap_long": -20.0},
        market={"start": "2024-01-02T21:00"},
    ),
    Golden(
        "what survives the night pays its swap when it is stopped",
        """
        open   high   low    close  | act | deals             | balance  | equity
        100.00 100.50  99.50 100.00 |  1  |                   | 10000.00 | 10000.00
        100.00 100.20  99.30  99.50 |  -  | +100 @ 100.10     | 10000.00 |  9920.00
         99.50  99.60  98.80  99.20 |  -  | -100 @ 99.00 stop |  9870.00 |  9870.00
        """,
        STOP,
        spec={"swap_mode": "points", "swap_long": -20.0},
        market={"start": "2024-01-02T21:00"},
    ),
    # Latency.
    Golden(
        "a bar of latency fills what was decided one bar earlier, at today's open",
        """
        open   high   low    close  | act | deals         | balance  | equity
        100.00 100.50  99.50 100.00 |  1  |               | 10000.00 | 10000.00
        100.00 101.00 100.00 101.00 |  0  |               | 10000.00 | 10000.00
        101.00 102.00 101.00 102.00 |  0  | +100 @ 101.10 | 10000.00 | 10090.00
        102.00 103.00 102.00 103.00 |  0  | -100 @ 102.00 | 10090.00 | 10090.00
        """,
        latency=1.0,
    ),
    Golden(
        "two bars of latency fill what was decided two bars earlier",
        """
        open   high   low    close  | act | deals         | balance  | equity
        100.00 100.50  99.50 100.00 |  1  |               | 10000.00 | 10000.00
        100.00 101.00 100.00 101.00 |  0  |               | 10000.00 | 10000.00
        101.00 102.00 101.00 102.00 |  0  |               | 10000.00 | 10000.00
        102.00 103.00 102.00 103.00 |  0  | +100 @ 102.10 | 10000.00 | 10090.00
        103.00 104.00 103.00 104.00 |  0  | -100 @ 103.00 | 10090.00 | 10090.00
        """,
        latency=2.0,
    ),
    Golden(
        # The range of the first row is 1.00, of the second 3.00: 101.00 - 3.00 is never reached.
        "the stop's distance is the newest, whatever the latency",
        """
        open   high   low    close  | act | deals              | balance  | equity
        100.00 100.50  99.50 100.00 |  1  |                    | 10000.00 | 10000.00
        100.00 102.00  99.00 100.00 |  1  |                    | 10000.00 | 10000.00
        101.00 101.10 100.40 100.50 |  1  | +100 @ 101.10      | 10000.00 |  9940.00
        100.50 100.60  99.90 100.00 |  -  |                    | 10000.00 |  9890.00
        """,
        STOP,
        latency=1.0,
    ),
    Golden(
        # Decided flat at 100.00: +100, then -100. What is on its way counts as held: -99 would be
        # one less than -100 and lies in the dead band.
        "latency delays a flip",
        """
        open   high   low    close  | act | deals                        | balance  | equity
        100.00 100.50  99.50 100.00 |  1  |                              | 10000.00 | 10000.00
        100.00 100.00 100.00 100.00 |  -1 |                              | 10000.00 | 10000.00
        100.00 100.00 100.00 100.00 |  -1 | +100 @ 100.10                | 10000.00 |  9990.00
        100.00 100.00 100.00 100.00 |  -  | -100 @ 100.00, -100 @ 100.00 |  9990.00 |  9980.00
        100.00 100.00 100.00 100.00 |  -  |                              |  9990.00 |  9980.00
        """,
        latency=1.0,
    ),
    Golden(
        # Half way is 100.275 both times: bought at 100.28 + 0.10, sold at 100.27.
        "half a bar of latency fills half way to the close, rounded against the trader",
        """
        open   high   low    close  | act | deals         | balance  | equity
        100.00 100.50  99.50 100.00 |  1  |               | 10000.00 | 10000.00
        100.00 100.60 100.00 100.55 |  0  | +100 @ 100.38 | 10000.00 | 10017.00
        100.55 100.60  99.90 100.00 |  0  | -100 @ 100.27 |  9989.00 |  9989.00
        """,
        latency=0.5,
    ),
    Golden(
        # The bid 100.28, half way, less 1.00; 99.27 is below, 99.29 would not be.
        "a stop counts from the quote half way",
        """
        open   high   low    close  | act | deals             | balance  | equity
        100.00 100.50  99.50 100.00 |  1  |                   | 10000.00 | 10000.00
        100.00 100.60 100.00 100.55 |  -  | +100 @ 100.38     | 10000.00 | 10017.00
        100.55 100.60  99.29 100.00 |  -  |                   | 10000.00 |  9962.00
        100.00 100.00  99.28 100.00 |  -  | -100 @ 99.28 stop |  9890.00 |  9890.00
        """,
        STOP,
        latency=0.5,
    ),
    Golden(
        # Bought half way from 100.00 to 101.20. Won 0.50, and 0.4 ranges are 0.48: the stop goes to
        # 100.70. The next open is beyond it: what closes it is an order, and half a bar late.
        "a gap through a moved stop is closed as late as an order",
        """
        open   high   low    close  | act | deals              | balance  | equity
        100.00 100.50  99.50 100.00 |  1  |                    | 10000.00 | 10000.00
        100.00 101.20 100.00 101.20 |  -  | +100 @ 100.70      | 10000.00 | 10050.00
        100.20 100.20  99.40  99.40 |  -  | -100 @ 99.80 stop  |  9910.00 |  9910.00
        """,
        {"break_even_atr": 0.4},
        latency=0.5,
    ),
    Golden(
        # One bar late, and then a quarter of the way from 101.00 to 102.00: 101.25.
        "latency of a bar and a quarter",
        """
        open   high   low    close  | act | deals         | balance  | equity
        100.00 100.50  99.50 100.00 |  -1 |               | 10000.00 | 10000.00
        100.00 101.00 100.00 101.00 |  -1 |               | 10000.00 | 10000.00
        101.00 102.00 101.00 102.00 |  -  | -100 @ 101.25 | 10000.00 |  9915.00
        """,
        latency=1.25,
    ),
    Golden(
        # At the close of the third row it is flat with nothing on its way: +100 is decided anew.
        "what a target has closed is reopened by a decision, not by what was on its way",
        """
        open   high   low    close  | act | deals                               | balance | equity
        100.00 100.50  99.50 100.00 |  1  |                                     |   10000 | 10000
        100.00 100.50  99.50 100.00 |  1  |                                     |   10000 | 10000
        100.00 101.20  99.90 100.00 |  1  | +100 @ 100.10, -100 @ 101.00 target |   10090 | 10090
        100.00 100.50  99.50 100.00 |  -  |                                     |   10090 | 10090
        100.00 100.50  99.50 100.00 |  -  | +100 @ 100.10                       |   10090 | 10080
        """,
        {"take_atr": 1.0},
        latency=1.0,
    ),
    Golden(
        "a flip on its way outlives the stop that closes the other side",
        """
        open   high   low    close  | act | deals                            | balance  | equity
        100.00 100.50  99.50 100.00 |  1  |                                  | 10000.00 | 10000.00
        100.00 100.50  99.50 100.00 |  -1 |                                  | 10000.00 | 10000.00
        100.00 100.20  98.90  99.00 |  -  | +100 @ 100.10, -100 @ 99.00 stop |  9890.00 |  9890.00
         99.00  99.10  98.90  99.00 |  -  | -100 @ 99.00                     |  9890.00 |  9880.00
        """,
        STOP,
        latency=1.0,
    ),
    # The breaker.
    Golden(
        # -150 are 1.5 %: flattened at the next open, by the order, though the bar falls to the
        # stop at 98.00.
        "LEVEL_3 flattens at the open, before the stop",
        """
        open   high   low    close  | act | deals         | balance  | equity
        100.00 100.50  99.50 100.00 |  1  |               | 10000.00 | 10000.00
        100.00 100.20  98.50  98.60 |  1  | +100 @ 100.10 | 10000.00 |  9850.00
         98.40  98.50  97.50  98.00 |  -  | -100 @ 98.40  |  9830.00 |  9830.00
        """,
        {
            "stop_atr": 2.0,
            "daily_loss_level_1": 0.005,
            "daily_loss_level_2": 0.008,
            "daily_loss_level_3": 0.012,
        },
        ends="terminated",
        levels={1: 3, 2: 3},
    ),
    Golden(
        # The third row's zero would be filled a bar later; the stop of 100.00 - 2.00 is quicker.
        "LEVEL_3 waits for its latency, the stop does not",
        """
        open   high   low    close  | act | deals             | balance  | equity
        100.00 100.50  99.50 100.00 |  1  |                   | 10000.00 | 10000.00
        100.00 100.50  99.50 100.00 |  1  |                   | 10000.00 | 10000.00
        100.00 100.20  98.50  98.60 |  1  | +100 @ 100.10     | 10000.00 |  9850.00
         98.40  98.50  97.50  98.20 |  -  | -100 @ 98.00 stop |  9790.00 |  9790.00
        """,
        {
            "stop_atr": 2.0,
            "daily_loss_level_1": 0.005,
            "daily_loss_level_2": 0.008,
            "daily_loss_level_3": 0.012,
        },
        latency=1.0,
        ends="terminated",
        levels={2: 3, 3: 3},
    ),
    # Stop-out.
    Golden(
        # 5,000 steps: margin 5,000, out below equity 2,500, at the bid 98.60.
        "a stop-out comes before a stop that lies further on the way, and before the target",
        """
        open   high   low    close  |  a  | deals                             | balance  | equity
        100.00 100.50  99.50 100.00 |  1  |                                   | 10000.00 | 10000.00
        100.00 101.50  97.50 100.00 |  -  | +5000 @ 100.10, -5000 @ 98.60 out |  2500.00 |  2500.00
        """,
        {**LARGEST, "stop_atr": 2.0, "take_atr": 1.0},
        ends="terminated",
        levels={1: 3},
    ),
    Golden(
        # 99.00 comes before 98.60: 5,000 * -1.10.
        "a stop that lies before the stop-out acts first",
        """
        open   high   low    close  | act | deals                              | balance  | equity
        100.00 100.50  99.50 100.00 |  1  |                                    | 10000.00 | 10000.00
        100.00 101.50  97.50 100.00 |  -  | +5000 @ 100.10, -5000 @ 99.00 stop |  4500.00 |  4500.00
        """,
        {**LARGEST, **STOP},
        levels={1: 0},
    ),
    Golden(
        # Bought at 100.15, 9,250 at the open; 2,500 at 98.65, sold at 98.60: 5,000 * -1.55.
        "a stop-out pays slippage",
        """
        open   high   low    close  |  a  | deals                             | balance  | equity
        100.00 100.50  99.50 100.00 |  1  |                                   | 10000.00 | 10000.00
        100.00 100.00  97.50 100.00 |  -  | +5000 @ 100.15, -5000 @ 98.60 out |  2250.00 |  2250.00
        """,
        {**LARGEST, "slippage_points": 5},
        ends="terminated",
    ),
    # Two symbols.
    Golden(
        # B has no third bar: its stop at 99.00 is passed by the fourth's open.
        "without a bar stops are not checked, and the next bar gaps",
        """
        open   high   low    close    | act | deals             | balance  | equity
        A 100.00 100.00 100.00 100.00 |  0  |                   | 10000.00 | 10000.00
        B 100.00 100.50  99.50 100.00 |  1  |                   |          |
        A 100.00 100.00 100.00 100.00 |  0  |                   | 10000.00 |  9970.00
        B 100.00 100.20  99.50  99.80 |  -  | +100 @ 100.10     |          |
        A 100.00 100.00 100.00 100.00 |  0  |                   | 10000.00 |  9970.00
        B -                           |  -  |                   |          |
        A 100.00 100.00 100.00 100.00 |  0  |                   |  9690.00 |  9690.00
        B  97.00  97.50  96.50  97.20 |  -  | -100 @ 97.00 stop |          |
        """,
        STOP,
    ),
    Golden(
        # 2,499 steps each; margin 4,998, out below 2,499. At the open equity is 9,500.20, and the
        # way costs 2,499 * (4 + 1): 7,001.20 / 12,495 = 0.5603 of it. A is then at 97.7587, sold at
        # 97.75: 2,499 * -2.35. B alone needs 1,249.50 and ends its way with 1,378.45.
        "a stop-out closes the largest loss first, and the rest survives",
        """
        open   high   low    close    | a | deals                             | balance  | equity
        A 100.00 100.50  99.50 100.00 | 1 |                                   | 10000.00 | 10000.00
        B 100.00 100.00 100.00 100.00 | 1 |                                   |          |
        A 100.00 100.00  96.00  97.00 | - | +2499 @ 100.10, -2499 @ 97.75 out |  4127.35 |  2627.95
        B 100.00 100.00  99.00  99.50 | - | +2499 @ 100.10                    |          |
        A  97.00  97.00  97.00  97.00 | - |                                   |  2627.95 |  2627.95
        B  99.50  99.50  99.50  99.50 | - | -2499 @ 99.50                     |          |
        """,
        LARGE,
        ends="terminated",
        levels={1: 3},
    ),
    Golden(
        # The short is hurt by its high: the same way and the same sums.
        "a short goes to its high while a long goes to its low",
        """
        open   high   low    close    | a  | deals                             | balance  | equity
        A 100.00 100.50  99.50 100.00 | 1  |                                   | 10000.00 | 10000.00
        B 100.00 100.00 100.00 100.00 | -1 |                                   |          |
        A 100.00 100.00  96.00  97.00 | -  | +2499 @ 100.10, -2499 @ 97.75 out |  4127.35 |  2627.95
        B 100.00 101.00 100.00 100.50 | -  | -2499 @ 100.00                    |          |
        A  97.00  97.00  97.00  97.00 | -  |                                   |  2627.95 |  2627.95
        B 100.50 100.50 100.50 100.50 | -  | +2499 @ 100.60                    |          |
        """,
        LARGE,
        ends="terminated",
        levels={1: 3},
    ),
    Golden(
        # 7,001.20 / (2,499 * 7) = 0.4002: A at 98.3991, sold at 98.39 with -4,273.29. B alone is
        # out below 1,249.50: 4,227.31 / 7,497 = 0.5639, at 98.3084, sold at 98.30.
        "where the margin fails again the next one is closed further on the way",
        """
        open   high   low    close    | a | deals                             | balance  | equity
        A 100.00 100.50  99.50 100.00 | 1 |                                   | 10000.00 | 10000.00
        B 100.00 100.00 100.00 100.00 | 1 |                                   |          |
        A 100.00 100.00  96.00  97.00 | - | +2499 @ 100.10, -2499 @ 98.39 out |  1228.51 |  1228.51
        B 100.00 100.00  97.00  98.00 | - | +2499 @ 100.10, -2499 @ 98.30 out |          |
        """,
        LARGE,
        ends="terminated",
    ),
    Golden(
        # A's stop is a quarter of its way: -2,748.90. B then keeps 3,252.70 above its 1,249.50. B's
        # first row does not move, so that it has no stop.
        "a stop on the way may spare the other symbol its stop-out",
        """
        open   high   low    close    | a | deals                              | balance  | equity
        A 100.00 100.50  99.50 100.00 | 1 |                                    | 10000.00 | 10000.00
        B 100.00 100.00 100.00 100.00 | 1 |                                    |          |
        A 100.00 100.00  96.00  97.00 | - | +2499 @ 100.10, -2499 @ 99.00 stop |  7251.10 |  4502.20
        B 100.00 100.00  98.50  99.00 | - | +2499 @ 100.10                     |          |
        A  97.00  97.00  97.00  97.00 | - |                                    |  7251.10 |  4502.20
        B  99.00  99.00  99.00  99.00 | - |                                    |          |
        """,
        {**LARGE, **STOP},
        levels={1: 0},
    ),
    Golden(
        # A's stop at 97.00 lies three quarters along, the stop-out 0.5603.
        "a stop further on the way comes too late",
        """
        open   high   low    close    | a | deals                             | balance  | equity
        A 100.00 101.50  98.50 100.00 | 1 |                                   | 10000.00 | 10000.00
        B 100.00 100.00 100.00 100.00 | 1 |                                   |          |
        A 100.00 100.00  96.00  97.00 | - | +2499 @ 100.10, -2499 @ 97.75 out |  4127.35 |  2627.95
        B 100.00 100.00  99.00  99.50 | - | +2499 @ 100.10                    |          |
        """,
        {**LARGE, **STOP},
        levels={1: 3},
    ),
)


@dataclass
class Row:
    """One bar of a table: prices, actions and deals by symbol."""

    bars: list[list[float] | None]
    actions: list[float]
    deals: list[list[tuple[int, float, str]]]
    balance: float
    equity: float


def parse(table: str) -> list[Row]:
    rows: list[Row] = []
    for line in table.strip().splitlines()[1:]:
        prices, action, deals, balance, equity = (cell.strip() for cell in line.split("|"))
        name, prices = (prices[0], prices[2:]) if prices[0] in "AB" else ("A", prices)
        if name == "A":
            rows.append(Row([], [], [], float(balance), float(equity)))
        row = rows[-1]
        row.bars.append(None if prices == "-" else [float(price) for price in prices.split()])
        row.actions.append(float("nan") if action == "-" else float(action))
        found = DEAL.findall(deals)
        row.deals.append([(int(steps), float(price), reason) for steps, price, reason in found])
    return rows


def tape_of(market: Golden, rows: list[Row], toy_spec, toy_bars, toy_tape):
    """The tape of a table, after a quiet bar at the open of its first row."""
    listed, specs = [], []
    for s in range(len(rows[0].bars)):
        name, bars = ("AAA", "BBB")[s], [row.bars[s] for row in rows]
        present = [k for k, bar in enumerate(bars) if bar is not None]
        prices = [[bars[0][0]] * 4, *(bars[k] for k in present)]
        listed.append(toy_bars(prices, name, hours=[0, *(k + 1 for k in present)], **market.market))
        specs.append(toy_spec(name, **market.spec))
    latency = {"latency_least": market.latency, "latency_most": market.latency}
    return toy_tape(listed, specs, **latency, **market.rules)


@pytest.mark.parametrize("market", MARKETS, ids=lambda market: market.name)
def test_golden_market(market, toy_spec, toy_bars, toy_tape):
    rows = parse(market.table)
    simulator = Simulator(tape_of(market, rows, toy_spec, toy_bars, toy_tape))
    simulator.place(0, 1, len(rows), 10_000.0)
    book, account = simulator.book, simulator.book.account[0]
    account["latency"] = market.latency
    for k, row in enumerate(rows[1:], start=1):
        actions = np.array([rows[k - 1].actions], np.float32)
        _, _, status = simulator.step_lane(0, actions)
        deals: list[list[tuple[int, float, str]]] = [[] for _ in row.deals]
        for deal in book.deals[0, : account["n_deals"]]:
            reason = UNASKED.get(REASONS[deal["reason"]], "")
            deals[deal["symbol"]].append(
                (int(deal["steps"]), round(float(deal["price"]), 9), reason)
            )
        assert deals == row.deals, k
        assert account["balance"] == pytest.approx(row.balance, abs=1e-9), k
        assert account["equity"] == pytest.approx(row.equity, abs=1e-6), k
        if k in market.levels:
            assert account["level"] == market.levels[k], k
        if k in market.reasons:
            assert REASONS[book.positions[0, -1]["reason"]] == market.reasons[k], k
        assert ENDS[status] == ("running" if k < len(rows) - 1 else market.ends), k

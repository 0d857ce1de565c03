"""Paper is the backtest, bit for bit, over as many bars as a life of trading has.

    python benchmarks/paper_parity.py [--bars 101000]

Two worlds of the tests in `tests/live`: one that flips, reduces and holds on a netting account, and
one on a hedging account that is stopped, trailed and partly closed all the time. Each goes through
the backtest's kernel, and through adapter, runner, journal and simulated terminal. Equity, position
and breaker level of every bar and every field of every deal are compared, not rounded. Ends with 1
where one differs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "live"))

import conftest


def worlds(bars: int) -> Iterator[tuple[str, conftest.World]]:
    """Each with what is special about it."""
    market = conftest.gold(bars)
    yield "netting, no stops", conftest.World(conftest.make_env(), market, conftest.ScriptedAgent())
    stopped = conftest.make_env(stops=conftest.STOPS, account={"book": "hedging"})
    eager = conftest.Fixed(lambda hour: conftest.EAGER[hour // 2])
    yield "hedging, stops", conftest.World(stopped, market, eager)


def same(name: str, world: conftest.World) -> bool:
    """Play a world both ways, print what came of it, and compare."""
    backtest = world.backtest()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        paper = world.paper(world.terminal(), Path(folder) / "journal.db")
    seconds = time.perf_counter() - began
    alike = paper == backtest
    print(
        f"{name:<18} {len(paper.equity):>8,} bars  {len(paper.deals):>7,} deals  "
        f"{1e3 * seconds / len(paper.equity):5.2f} ms a bar  "
        + ("every bit alike" if alike else "DIFFERENT"),
        flush=True,
    )
    return alike and len(backtest.equity) > 0 and len(backtest.deals) > len(backtest.equity) / 50


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bars", type=int, default=101_000, help="Warm-up included.")
    options = parser.parse_args()
    outcomes = [same(name, world) for name, world in worlds(options.bars)]
    return 0 if all(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())

"""Prices that a server takes: on the grid, on the right side of the market, far enough from it."""

from __future__ import annotations

from mtquant.brokers import constants as mt5
from mtquant.brokers.terminal.account import SimulatedAccount
from mtquant.brokers.terminal.working import BUYS, STOPS, Levels

_OFF_GRID = 1e-3  # ticks; float noise of a price stays far below


def levels_of(account: SimulatedAccount, s: int, stop: float, take: float) -> Levels | None:
    """Two prices (0 for none) in ticks; None where one of them is no price of the symbol."""
    contract, levels = account.tape.contracts[s], list[int]()
    for price in (stop, take):
        ticks = price * int(contract["tick_d"]) / int(contract["tick_n"])
        if not 0.0 <= ticks < 2.0**53 or abs(ticks - round(ticks)) > _OFF_GRID:
            return None
        levels.append(round(ticks))
    return levels[0], levels[1]


def allows(
    account: SimulatedAccount, s: int, side: int, levels: Levels, standing: Levels = (0, 0)
) -> bool:
    """Whether a position may be given these levels now: on the right side and far enough.

    Args:
        account: Of which it is asked.
        s: Symbol.
        side: 1 of a long, -1 of a short position.
        levels: New stop and target.
        standing: What it carries already; a level that stays is not judged again.
    """
    bid, ask = account.quote(s)
    quoted = account.instruments[s].ticks(bid if side > 0 else ask)
    nearest = max(int(account.tape.contracts["stops_ticks"][s]), 1)
    rooms = (side * (quoted - levels[0]), side * (levels[1] - quoted))
    return all(
        level in (0, stands) or room >= nearest
        for level, stands, room in zip(levels, standing, rooms, strict=True)
    )


def against_price(account: SimulatedAccount, s: int, kind: int, price: int, levels: Levels) -> int:
    """Why a working order may not stand at a price now, or 0.

    Args:
        account: Of which it is asked.
        s: Symbol.
        kind: ``ORDER_TYPE_*``, a limit or a stop.
        price: In ticks.
        levels: Stop and target of what it opens, in ticks.
    """
    buys = kind in BUYS
    quoted = account.instruments[s].ticks(account.quote(s)[buys])
    side, nearest = 1 if buys else -1, int(account.tape.contracts["stops_ticks"][s])
    room = (quoted - price) if buys != (kind in STOPS) else (price - quoted)
    if price <= 0 or room <= 0:
        return mt5.TRADE_RETCODE_INVALID_PRICE
    rooms = (side * (price - levels[0]), side * (levels[1] - price))
    near = any(level and away < max(nearest, 1) for level, away in zip(levels, rooms, strict=True))
    return mt5.TRADE_RETCODE_INVALID_STOPS if near or room < nearest else 0


def frozen(account: SimulatedAccount, s: int, at_ask: bool, price: int) -> bool:
    """Whether the market is so near to a price in ticks that nothing there may be changed."""
    instrument, spec = account.instruments[s], account.instruments[s].spec
    quoted = instrument.ticks(account.quote(s)[at_ask])
    freeze = spec.freeze_level_points * spec.point
    return freeze > 0.0 and abs(quoted - price) <= instrument.ticks(freeze)

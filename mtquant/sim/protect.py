"""What protects a position, decided at the close: where its stop moves, and what may be reopened.

Trailing, break-even and the partial close only ever tighten a stop, and only to a level on the
losing side of the close; inside a bar nothing is decided.
"""

from __future__ import annotations

from math import ceil, floor

from mtquant.jit import Record, kernel
from mtquant.risk.sizing import GRID_TOLERANCE
from mtquant.sim.account import closing_quote, side_of
from mtquant.sim.costs import round_up


@kernel
def _tighten(position: Record, side: int, quoted: int, nearest: int, level: int) -> None:
    """Move the stop to ``level`` if that is tighter and no nearer to the quote than allowed."""
    if side * (quoted - level) < nearest or level <= 0:
        return
    if position["stop"] == 0 or side * (level - position["stop"]) > 0:
        position["stop"], position["moved"] = level, 1


@kernel
def _entry_level(position: Record, side: int) -> int:
    """The entry in whole ticks, rounded in the position's favour."""
    return ceil(position["entry"]) if side > 0 else floor(position["entry"])


@kernel
def _close_part(position: Record, rules: Record, least: int, won: float) -> bool:
    """Cap the position where it has come far enough; whether it has, just now."""
    if position["cap"] != 0 or position["take"] == 0:
        return False
    way = abs(position["take"] - position["entry"])
    held = abs(position["steps"])
    closed = floor(held * rules["partial_share"] + GRID_TOLERANCE)
    if won < rules["partial_at"] * way or closed < least or held - closed < least:
        return False
    position["cap"] = held - closed
    return True


@kernel
def protect(position: Record, contract: Record, bar: Record, rules: Record) -> None:
    """Move the stop of a position held at the close of ``bar``, and cap it after a partial close.

    Args:
        position: With steps that are not 0.
        contract: Of the symbol.
        bar: The bar that has closed.
        rules: With the stop rules, distances in ATR.
    """
    side = side_of(position["steps"])
    quoted = closing_quote(side, bar, bar["close"])
    nearest = max(contract["stops_ticks"], 1)
    won = side * (quoted - position["entry"])
    if rules["partial_at"] > 0.0 and _close_part(position, rules, contract["min_steps"], won):
        _tighten(position, side, quoted, nearest, _entry_level(position, side))
    if bar["atr"] <= 0.0:
        return
    if rules["break_even_atr"] > 0.0 and won >= rules["break_even_atr"] * bar["atr"]:
        _tighten(position, side, quoted, nearest, _entry_level(position, side))
    if rules["trail_atr"] > 0.0:
        away = max(round_up(rules["trail_atr"] * bar["atr"]), nearest)
        _tighten(position, side, quoted, nearest, quoted - side * away)


@kernel
def _nearer(own: int, asked: int) -> int:
    """Of two distances the nearer, where 0 is none."""
    return asked if own == 0 else min(own, asked)


@kernel(rare=True)
def obey(position: Record, contract: Record, bar: Record) -> None:
    """Take the levels that the agent has asked for, for this decision alone.

    They are never farther away than the rules' own: a stop moves only where it becomes tighter.

    Args:
        position: With ``asked_stop`` or ``asked_take``, which are cleared.
        contract: Of the symbol.
        bar: The bar that has closed.
    """
    nearest = max(contract["stops_ticks"], 1)
    stop, take = position["asked_stop"] * bar["close"], position["asked_take"] * bar["close"]
    position["asked_stop"], position["asked_take"] = 0.0, 0.0
    if take > 0.0:
        away = max(round_up(take), nearest)
        position["take_distance"] = _nearer(position["take_distance"], away)
    if stop > 0.0:
        away = max(round_up(stop), nearest)
        position["stop_distance"] = _nearer(position["stop_distance"], away)
        if position["steps"] != 0 and bar["tradable"] != 0:
            side = side_of(position["steps"])
            quoted = closing_quote(side, bar, bar["close"])
            _tighten(position, side, quoted, nearest, quoted - side * away)


@kernel
def distance(multiple: float, contract: Record, bar: Record) -> int:
    """Ticks from a quote to the stop or target ``multiple`` ATR away; 0 for none."""
    if multiple <= 0.0 or bar["atr"] <= 0.0:
        return 0
    return max(round_up(multiple * bar["atr"]), contract["stops_ticks"], 1)


@kernel
def reopened(position: Record, rules: Record, action: float) -> bool:
    """Whether the action may act: a side that a protective stop has closed waits.

    It is free again once the action is zero or of the other sign, or ``reentry_bars`` have closed.
    """
    side = position["barred_side"]
    if side == 0:
        return True
    waited = 0 < rules["reentry_bars"] <= position["barred_bars"]
    if waited or action * side <= 0.0:
        position["barred_side"] = 0
        return True
    return False

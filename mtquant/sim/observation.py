"""What an agent sees of its own account: one fixed transform, bounded, never fitted."""

from __future__ import annotations

from math import sqrt

from mtquant.jit import Record, kernel
from mtquant.sim.account import (
    SMALLEST_EQUITY,
    Book,
    Float32,
    Tape,
    closing_quote,
    side_of,
    symbols_of,
    unrealised,
)
from mtquant.sim.decisions import began_at, steps_at_full_size

SYMBOL_FEATURES = (
    "position",
    "position_profit",
    "position_age",
    "stop_distance",
    "stopped_side",
)
ACCOUNT_FEATURES = ("drawdown", "day_gain", "breaker_level")
MOMENT_FEATURES = ("return_ratio", "return_deviation")  # of the differential rewards only


def account_feature_names(symbols: tuple[str, ...], differential: bool = False) -> list[str]:
    """Names of the account's observation columns, prefixed by symbol where there are several.

    Args:
        symbols: Of the account.
        differential: Whether the reward is a differential ratio, whose moments are then seen too.
    """
    names = [
        name if len(symbols) == 1 else f"{symbol}.{name}"
        for symbol in symbols
        for name in SYMBOL_FEATURES
    ]
    return names + list(ACCOUNT_FEATURES) + (list(MOMENT_FEATURES) if differential else [])


@kernel
def squash(x: float) -> float:
    """``x / (1 + |x|)``: bounded, monotone, no constant to fit."""
    return x / (1.0 + abs(x))


@kernel
def moment_features(account: Record, out: Float32, i: int, k: int) -> None:
    """Write mean over deviation, and the deviation in percent, both squashed into [-1, 1]."""
    mean, deviation = account["mean_return"], sqrt(account["square_return"])
    out[i, k] = squash(mean / deviation) if deviation > 0.0 else 0.0
    out[i, k + 1] = squash(100.0 * deviation)


@kernel
def stop_room(position: Record, bar: Record) -> float:
    """Distance of the stop from the close in ATR, squashed; 1 without a stop."""
    if position["stop"] == 0:
        return 1.0
    quote = closing_quote(position["steps"], bar, bar["close"])
    away = abs(quote - position["stop"])
    return away / (away + bar["atr"]) if away > 0 else 0.0


@kernel
def action_of(steps: int, full: float) -> float:
    """The action that holds these lot steps: the middle of those that do, at most full size."""
    held = abs(steps) + 0.5
    size = held / full if held < full else 1.0
    return side_of(steps) * size


@kernel
def position_features(
    position: Record, bar: Record, full: float, equity: float, out: Float32, i: int, k: int
) -> None:
    """Write the five columns of one symbol, :data:`SYMBOL_FEATURES`."""
    steps = position["steps"]
    out[i, k + 4] = position["barred_side"]
    if steps == 0:
        for j in range(k, k + 4):
            out[i, j] = 0.0
        return
    out[i, k] = action_of(steps, full)
    profit = unrealised(position, bar, bar["close"], bar["value"])
    out[i, k + 1] = squash(100.0 * profit / equity)
    out[i, k + 2] = position["age"] / (position["age"] + 24.0)
    out[i, k + 3] = stop_room(position, bar)


@kernel
def account_features(book: Book, tape: Tape, i: int, t: int, out: Float32, offset: int) -> None:
    """Write the account's part of the observation, every value in [-1, 1].

    Per symbol: the action that holds its position, unrealised profit in percent of equity
    (squashed), age of the position against a day of 24 bars, distance of its stop in ATR
    (squashed), and the side that a stop has closed for a while. Then drawdown from the peak, the
    day's gain in units of the LEVEL_3 loss, and the breaker's level; under a differential reward
    its moments too, where ``out`` has the columns.

    Args:
        book: State.
        tape: Market and rules.
        i: Lane.
        t: Row of the last closed bar.
        out: float32 ``[N, F + 5 S + 3]``.
        offset: First column to write.
    """
    account, rules = book.account[i], tape.rules[0]
    equity = max(account["equity"], SMALLEST_EQUITY)
    k, began = offset, began_at(account, t)
    for s in range(symbols_of(book)):
        position, bar, full = book.positions[i, s], tape.market[t, s], 0.0
        if position["steps"] != 0:
            first = tape.market[began, s]
            full = steps_at_full_size(account, tape.contracts[s], bar, first, rules)
        position_features(position, bar, full, equity, out, i, k)
        k += 5
    drawdown = 1.0 - account["equity"] / max(account["peak"], SMALLEST_EQUITY)
    gain = account["equity"] / max(account["day_start"], SMALLEST_EQUITY) - 1.0
    out[i, k] = min(max(drawdown, 0.0), 1.0)
    out[i, k + 1] = min(max(gain / rules["loss_unit"], -1.0), 1.0)
    out[i, k + 2] = account["level"] / 3.0
    if rules["adaptation"] != 0.0 and out.shape[1] >= k + 5:
        moment_features(account, out, i, k + 3)

"""A slow account in whole numbers and fractions: docs/physics.md a second time, from its text.

It shares no line with the kernel. It is told the targets that were decided (sizing and checks are
not its business) and works out deals, money, stops and the breaker's level of one netting account.

    hear      at the close of a bar: what the action says to those who wait after a stop
    protect   at the close of a bar: trailing, break-even, partial close
    play      the next bar: fill, inside, carry, mark

Prices are ticks, volumes lot steps, money is in account currency.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import takewhile
from math import ceil, floor, isnan

ORDER, STOP, TARGET, STOP_OUT = "order", "stop", "target", "stop-out"
# What floats may miss: a millionth of a tick on the way, a billionth of a cent in money.
TICK_NOISE, CENT_NOISE = Fraction(1, 10**6), Fraction(1, 10**9)
ENTRY_GRID = 2**20  # parts of a tick in which an average entry is kept


@dataclass(frozen=True)
class Contract:
    """What one lot step of a symbol costs; swaps are money a step and night, or ``percent``."""

    least: int
    slippage: int
    stops_level: int
    commission: Fraction
    margin_share: Fraction
    swap_long: Fraction
    swap_short: Fraction
    percent: bool = False  # swaps are then fractions of the position's value a night
    points: bool = False  # or ticks


@dataclass(frozen=True)
class Bar:
    """One bar of one symbol; ``value`` is the money of one tick and lot step at the close."""

    open: int
    high: int
    low: int
    close: int
    spread: int
    atr: Fraction
    value: Fraction
    open_value: Fraction
    nights: int
    tradable: bool


@dataclass(frozen=True)
class Rules:
    """The rules that are no contract's; multiples of ATR and shares, 0 for none."""

    stop_atr: Fraction = Fraction(0)
    take_atr: Fraction = Fraction(0)
    trail_atr: Fraction = Fraction(0)
    break_even_atr: Fraction = Fraction(0)
    partial_at: Fraction = Fraction(0)
    partial_share: Fraction = Fraction(0)
    reentry_bars: int = 0
    stop_out_level: Fraction = Fraction(1, 2)
    losses: tuple[Fraction, ...] = ()  # of the day, LEVEL_1 first


@dataclass(frozen=True)
class Deal:
    """One deal; ``price`` in ticks."""

    symbol: int
    steps: int
    price: int
    reason: str
    profit: Fraction
    commission: Fraction
    swap: Fraction


@dataclass
class Position:
    """What is held of one symbol; a flat one has nothing but the side that is barred."""

    steps: int = 0
    entry: Fraction = Fraction(0)
    swap: Fraction = Fraction(0)
    stop: int = 0
    take: int = 0
    cap: int = 0
    barred: int = 0
    barred_at: int = 0
    moved: bool = False  # the stop, at the last close

    @property
    def side(self) -> int:
        return (self.steps > 0) - (self.steps < 0)

    def exit_at(self, bid: int, bar: Bar) -> int:
        """The quote that closes it: the bid for a long, the ask for a short."""
        return bid if self.steps > 0 else bid + bar.spread

    def worst(self, bar: Bar) -> int:
        """The bid inside the bar that hurts it most."""
        return bar.low if self.steps > 0 else bar.high

    def profit(self, bid: Fraction | int, value: Fraction, bar: Bar) -> Fraction:
        """If closed at a bid, booked swap included."""
        quote = bid if self.steps > 0 else bid + bar.spread
        return self.steps * (quote - self.entry) * value + self.swap

    def too_near(self, bar: Bar, contract: Contract) -> bool:
        """Whether no broker takes the stop at the open."""
        quoted = bar.open if self.side > 0 else bar.open + bar.spread
        return self.side * (quoted - self.stop) < max(contract.stops_level, 1)

    def passed_stop(self, bid: int, bar: Bar) -> bool:
        return self.stop != 0 and self.side * (self.exit_at(bid, bar) - self.stop) <= 0

    def passed_take(self, bid: int, bar: Bar) -> bool:
        return self.take != 0 and self.side * (self.exit_at(bid, bar) - self.take) >= 0

    def tighten(self, level: int, close: int, stops_level: int) -> None:
        """Move the stop to a tighter level that the broker takes on the losing side."""
        losing = self.side * (close - level) >= max(1, stops_level)
        if losing and (self.stop == 0 or self.side * (level - self.stop) > 0):
            self.stop, self.moved = level, True


def cents(amount: Fraction) -> Fraction:
    """Half away from zero."""
    rounded = Fraction(floor(abs(amount) * 100 + Fraction(1, 2) + CENT_NOISE), 100)
    return rounded if amount >= 0 else -rounded


def margin(steps: int, ticks: int, bar: Bar, contract: Contract) -> Fraction:
    """Money that a broker asks at the open for a position at a price."""
    return abs(steps) * ticks * bar.open_value * contract.margin_share


def converted(history: Sequence[Sequence[Bar]], pair: int, tick: Fraction) -> list[list[Bar]]:
    """Bars quoted in one currency, in the money of an account in the base of one of the symbols.

    What opens is converted at that pair's open and what closes at its close; where it has no bar,
    at its last close.
    """
    valued, last = [], Fraction(0)
    for rows in history:
        bar = rows[pair]
        opened = bar.open * tick if bar.tradable else last
        last = bar.close * tick if bar.tradable else last
        valued.append(
            [replace(row, value=row.value / last, open_value=row.value / opened) for row in rows]
        )
    return valued


@dataclass
class Account:
    """One account over some symbols; ``latency`` in bars."""

    contracts: Sequence[Contract]
    rules: Rules
    balance: Fraction
    day: int
    latency: Fraction = Fraction(0)
    level: int = 0
    stopped_out: bool = False
    positions: list[Position] = field(default_factory=list)
    deals: list[Deal] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.positions = [Position() for _ in self.contracts]
        self.equity = self.day_start = self.balance
        # Targets and distances not yet filled, the oldest first.
        nothing = [0] * len(self.contracts)
        self.pending = [nothing] * floor(self.latency)

    # At the close of bar t.

    def protect(self, bars: Sequence[Bar]) -> None:
        """Trailing, break-even and partial close of every position."""
        for position, bar, contract in zip(self.positions, bars, self.contracts, strict=True):
            position.moved = False
            if position.steps:
                self._protect(position, bar, contract)

    def _protect(self, position: Position, bar: Bar, contract: Contract) -> None:
        rules, side = self.rules, position.side
        close = position.exit_at(bar.close, bar)
        won = side * (close - position.entry)
        at_entry = side * ceil(side * position.entry)
        if rules.trail_atr and bar.atr:
            trail = max(ceil(rules.trail_atr * bar.atr), contract.stops_level)
            position.tighten(close - side * trail, close, contract.stops_level)
        if rules.break_even_atr and bar.atr and won >= rules.break_even_atr * bar.atr:
            position.tighten(at_entry, close, contract.stops_level)
        way = side * (position.take - position.entry)
        reached = position.take != 0 and won >= rules.partial_at * way
        if rules.partial_at and reached and not position.cap:
            part = floor(abs(position.steps) * rules.partial_share)
            left = abs(position.steps) - part
            if min(part, left) >= contract.least:
                position.cap = left
                position.tighten(at_entry, close, contract.stops_level)

    def hear(self, t: int, actions: Sequence[float]) -> None:
        """Who waits after a stop may be let back by the action, or by time."""
        for position, action in zip(self.positions, actions, strict=True):
            spoken = not isnan(action) and action * position.barred <= 0
            waited = 0 < self.rules.reentry_bars <= t - position.barred_at
            if spoken or waited:
                position.barred = 0

    def allowed(self, s: int, target: int) -> int:
        """What re-entry, partial close and the breaker leave of a target."""
        position = self.positions[s]
        held = position.steps
        if target * position.barred > 0:
            target = 0
        if position.cap and target * held > 0:
            target = position.side * min(abs(target), position.cap)
        if self.level >= 3 or (self.level == 2 and target * held <= 0):
            return 0
        if self.level == 2 and abs(target) > abs(held):
            return held
        return target

    def distance(self, multiple: Fraction, s: int, bar: Bar) -> int:
        """Ticks between the quote of an increase and its stop or target; 0 for none."""
        if not multiple or not bar.atr:
            return 0
        return max(ceil(multiple * bar.atr), self.contracts[s].stops_level)

    # Bar t + 1.

    def play(
        self, t: int, day: int, before: Sequence[Bar], bars: Sequence[Bar], targets: Sequence[int]
    ) -> list[Deal]:
        """Bar ``t`` with the targets decided at the close ``before`` it; returns its deals."""
        self.deals, self.stopped_out = [], False
        if day != self.day:
            self.day, self.day_start = day, self.equity
            self.level = 3 if self.level == 3 else 0
        stop, take = self.rules.stop_atr, self.rules.take_atr
        self.pending.append(list(targets))
        for s, target in enumerate(self.pending.pop(0)):
            if bars[s].tradable:
                distances = (self.distance(multiple, s, before[s]) for multiple in (stop, take))
                self._fill(t, s, bars, target, *distances)
            self._give_up(s, target)
        self._inside(t, bars)
        for position, bar, contract in zip(self.positions, bars, self.contracts, strict=True):
            self._carry(position, bar, contract)
        self.equity = self._marked([(bar.close, bar.value) for bar in bars], bars)
        self._judge()
        return self.deals

    def _give_up(self, s: int, due: int) -> None:
        """What was not opened is not opened by those that ask for nothing but the same."""
        held = self.positions[s].steps
        kept = held if held * due > 0 else 0
        if abs(due) > abs(kept):
            for targets in takewhile(lambda targets: targets[s] == due, self.pending):
                targets[s] = kept

    def _marked(self, quotes: Sequence[tuple[int, Fraction]], bars: Sequence[Bar]) -> Fraction:
        """Equity at bids and what a tick is worth there."""
        held = zip(self.positions, quotes, bars, strict=True)
        return self.balance + sum(p.profit(*quote, bar) for p, quote, bar in held if p.steps)

    def _margin(self, bars: Sequence[Bar]) -> Fraction:
        held = zip(self.positions, bars, self.contracts, strict=True)
        return sum((margin(p.steps, bar.open, bar, c) for p, bar, c in held), Fraction(0))

    def _fill(
        self,
        t: int,
        s: int,
        bars: Sequence[Bar],
        target: int,
        stop_distance: int,
        take_distance: int,
    ) -> None:
        position, bar, contract = self.positions[s], bars[s], self.contracts[s]
        reason = ORDER
        if position.moved and target * position.steps > 0 and position.too_near(bar, contract):
            target, reason = 0, STOP
            position.barred, position.barred_at = position.side, t
        if self.latency >= 1:
            held = position.steps
            if self.level >= 2 and target * held <= 0:
                target = 0
            elif self.level >= 2 and abs(target) > abs(held):
                target = held
        order = target - position.steps
        side = 1 if order > 0 else -1
        quoted = bar.open + (self.latency % 1) * (bar.close - bar.open)
        bid = side * ceil(side * quoted)
        if position.steps * order < 0:
            closing = side * min(abs(order), abs(position.steps))
            self._deal(s, bar, closing, bid, reason)
            order, position = order - closing, self.positions[s]
        if order == 0:
            return
        if position.passed_stop(bar.open, bar) or position.passed_take(bar.open, bar):
            return
        price = bid + bar.spread + contract.slippage if side > 0 else bid - contract.slippage
        needed = self._margin(bars) + margin(order, price, bar, contract)
        if needed > self._marked([(b.open, b.open_value) for b in bars], bars):
            return
        self._deal(s, bar, order, bid, ORDER)
        quote = position.exit_at(bid, bar)
        position.stop = quote - side * stop_distance if stop_distance else 0
        position.take = quote + side * take_distance if take_distance else 0

    def _inside(self, t: int, bars: Sequence[Bar]) -> None:
        """Better opens, then the way that hurts, then the targets of what is left."""
        self._targets(bars, at_open=True)
        way = Fraction(0)
        while event := min(self._stops(bars) + self._stop_outs(bars, way), default=None):
            way, rank, _, s = event
            position, bar = self.positions[s], bars[s]
            if rank == 0:
                position.barred, position.barred_at = position.side, t
                quote = position.stop
                if position.passed_stop(bar.open, bar):
                    quote = position.exit_at(bar.open, bar)
                bid = quote - position.exit_at(0, bar)
                self._deal(s, bar, -position.steps, bid, STOP)
            else:
                path = way * (position.worst(bar) - bar.open)
                moved = floor(path + TICK_NOISE) if path < 0 else ceil(path - TICK_NOISE)
                self._deal(s, bar, -position.steps, bar.open + moved, STOP_OUT)
                self.stopped_out = True
        self._targets(bars, at_open=False)

    def _targets(self, bars: Sequence[Bar], at_open: bool) -> None:
        for s, (position, bar) in enumerate(zip(self.positions, bars, strict=True)):
            best = bar.open if at_open else bar.high if position.steps > 0 else bar.low
            if position.steps and bar.tradable and position.passed_take(best, bar):
                bid = bar.open if at_open else position.take - position.exit_at(0, bar)
                self._deal(s, bar, -position.steps, bid, TARGET)

    def _stops(self, bars: Sequence[Bar]) -> list[tuple[Fraction, int, Fraction, int]]:
        """``(point of the way, 0, 0, symbol)`` of every stop that the bar touches."""
        found = []
        for s, (position, bar) in enumerate(zip(self.positions, bars, strict=True)):
            worst = position.worst(bar)
            if position.steps and bar.tradable and position.passed_stop(worst, bar):
                point = Fraction(0)
                if not position.passed_stop(bar.open, bar):
                    bid = position.stop - position.exit_at(0, bar)
                    point = Fraction(bid - bar.open, worst - bar.open)
                found.append((point, 0, Fraction(0), s))
        return found

    def _stop_outs(
        self, bars: Sequence[Bar], way: Fraction
    ) -> list[tuple[Fraction, int, Fraction, int]]:
        """``(point, 1, profit there, symbol)`` of what can be closed where the margin fails."""
        least = self.rules.stop_out_level * self._margin(bars)
        worst = [p.worst(bar) for p, bar in zip(self.positions, bars, strict=True)]
        opens, ends = (
            [(bid, bar.open_value) for bid, bar in zip(bids, bars, strict=True)]
            for bids in ([bar.open for bar in bars], worst)
        )
        start, end = self._marked(opens, bars), self._marked(ends, bars)
        if least == 0 or end >= least:
            return []
        point = max(way, (start - least) / (start - end) if start > least else Fraction(0))
        found = []
        for s, (position, bar) in enumerate(zip(self.positions, bars, strict=True)):
            if position.steps and bar.tradable:
                bid = bar.open + point * (worst[s] - bar.open)
                found.append((point, 1, position.profit(bid, bar.open_value, bar), s))
        return found

    def _deal(self, s: int, bar: Bar, steps: int, bid: int, reason: str) -> None:
        position, contract = self.positions[s], self.contracts[s]
        if reason != ORDER:
            for targets in self.pending:  # what is on its way to its side is called off
                if targets[s] * position.steps > 0:
                    targets[s] = 0
        price = bid + bar.spread + contract.slippage if steps > 0 else bid - contract.slippage
        held, profit, swap = position.steps, Fraction(0), Fraction(0)
        if held * steps < 0:
            profit = cents(-steps * (price - position.entry) * bar.open_value)
            swap = cents(position.swap * Fraction(-steps, held))
            position.swap -= swap
        else:
            entry = (held * position.entry + steps * price) / (held + steps)
            position.entry = Fraction(floor(entry * ENTRY_GRID + Fraction(1, 2)), ENTRY_GRID)
        commission = cents(abs(steps) * contract.commission)
        self.balance += profit + swap - commission
        position.steps += steps
        self.deals.append(Deal(s, steps, price, reason, profit, commission, swap))
        if position.steps == 0:
            self.positions[s] = Position(barred=position.barred, barred_at=position.barred_at)

    def _carry(self, position: Position, bar: Bar, contract: Contract) -> None:
        rate = contract.swap_long if position.steps > 0 else contract.swap_short
        if contract.percent:
            rate *= bar.close * bar.value
        elif contract.points:
            rate *= bar.value
        position.swap += cents(abs(position.steps) * rate * bar.nights)

    def _judge(self) -> None:
        loss = 1 - self.equity / self.day_start if self.day_start > 0 else Fraction(1)
        for level, limit in enumerate(self.rules.losses, start=1):
            if loss >= limit:
                self.level = max(self.level, level)
        if self.stopped_out or self.equity <= 0 or self.day_start <= 0:
            self.level = 3

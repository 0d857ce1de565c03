"""PaperAccount: a simulated account on bars that come from elsewhere, kept in its record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mtquant.brokers.terminal.growing import GrowingTerminal
from mtquant.brokers.terminal.growth import Opening, TapeOf
from mtquant.brokers.terminal.records import TradeRequest
from mtquant.brokers.terminal.state import AccountTerms
from mtquant.errors import ConfigError, RiskHalt
from mtquant.live.paper_record import VERSION, PaperRecord, bars_told, told_bars, told_opening
from mtquant.market.bars import Bars
from mtquant.market.symbols import SymbolSpec
from mtquant.market.timeframe import Timeframe
from mtquant.sim.account import Book


@dataclass(frozen=True)
class Making:
    """What an account is made of.

    Attributes:
        facts: That it is bound to, such as the bundle; no restart may change one.
        specs: Of the traded symbols.
        context_specs: Of the others.
        timeframe: Of the bars.
        tape_of: Computes the kernel's columns over any run of bars.
        window: Bars of each symbol from which the two newest rows come out right.
        terms: Of the account.
    """

    facts: dict[str, str]
    specs: tuple[SymbolSpec, ...]
    context_specs: tuple[SymbolSpec, ...]
    timeframe: Timeframe
    tape_of: TapeOf
    window: int
    terms: AccountTerms

    @property
    def symbols(self) -> tuple[str, ...]:
        """Standard names, context last."""
        return tuple(spec.name for spec in (*self.specs, *self.context_specs))


@dataclass(frozen=True)
class Watcher:
    """Whoever follows the account, in this life and through earlier ones.

    Attributes:
        on_closed: A bar has closed; the book still shows its deals.
        on_level: The breaker's level at the newest close, known when the next bar was decided.
    """

    on_closed: Callable[[Book], None]
    on_level: Callable[[int], None]


class PaperAccount:
    """An account that goes on where its record ends.

    Attributes:
        first: Row of the bar at whose close it was opened.
        undecided: Bars that closed while nobody looked, and were only marked.
        decisions: Bars that were decided.
    """

    def __init__(self, record: PaperRecord, making: Making, watcher: Watcher) -> None:
        """Live through what the record tells.

        Raises:
            ConfigError: The record is of another bundle or of other limits.
            RiskHalt: It does not come out as it did.
        """
        self._record, self._making, self._watcher = record, making, watcher
        self._terminal: GrowingTerminal | None = None
        self.first, self.undecided, self.decisions = 0, 0, 0
        for line in record.lines():
            self._repeat(line)
        if self._terminal is not None:
            self._terminal.note = self._note

    @property
    def begun(self) -> bool:
        """Whether there is an account."""
        return self._terminal is not None

    @property
    def terminal(self) -> GrowingTerminal:
        """Where it trades."""
        assert self._terminal is not None, "an account is begun before it is used"
        return self._terminal

    def begin(self, bars: Sequence[Bars]) -> None:
        """Open the account at the close of the newest closed bar.

        Args:
            bars: History and the bar that forms, traded symbols first.
        """
        self._record.write("begun", version=VERSION, facts=self._making.facts, bars=told_bars(bars))
        self._open(bars)
        self.terminal.note = self._note

    def take(self, opening: Opening) -> None:
        """Let a bar pass."""
        self._record.write("opened", **told_opening(opening))
        self._pass(opening)

    def decided(self, reasons: list[int], level: int) -> None:
        """The bar that closed last was decided on.

        Args:
            reasons: Codes, one a symbol.
            level: Of the breaker at its close.
        """
        self._record.write("decided", reasons=reasons, level=level, equity=self._equity)
        self._explain(reasons, level)

    @property
    def _equity(self) -> float:
        """Balance and what is held, after the orders."""
        return self.terminal.account.equity_and_margin()[0]

    def _open(self, bars: Sequence[Bars]) -> None:
        making = self._making
        self._terminal = GrowingTerminal(
            bars,
            making.specs,
            making.context_specs,
            making.tape_of,
            window=making.window,
            terms=making.terms,
        )
        self.first = self._terminal.account.forming - 1
        self.undecided = 1

    def _pass(self, opening: Opening) -> None:
        self.terminal.grow(opening)
        self._watcher.on_closed(self.terminal.account.book)
        self.undecided += 1

    def _explain(self, reasons: list[int], level: int) -> None:
        self.terminal.account.explain(reasons)
        self._watcher.on_level(level)
        self.undecided -= 1
        self.decisions += 1

    def _note(self, request: TradeRequest) -> None:
        self._record.write("asked", request=request._asdict())

    def _repeat(self, line: dict[str, Any]) -> None:
        """Live through one line."""
        making = self._making
        if line["event"] == "begun":
            self._refuse_another(line)
            self._open(bars_told(line["bars"], making.symbols, making.timeframe))
        elif line["event"] == "opened":
            bars = bars_told(line["bars"], making.symbols, making.timeframe)
            self._pass(Opening(line["now_ns"], bars))
        elif line["event"] == "asked":
            self.terminal.repeat(line["request"])
        else:
            if self._equity != line["equity"]:
                raise RiskHalt(
                    f"'{self._record.path}' gives equity {self._equity} where it was "
                    f"{line['equity']}: mtquant has changed since; begin another paper account "
                    "with --out"
                )
            self._explain(line["reasons"], line["level"])

    def _refuse_another(self, begun: dict[str, Any]) -> None:
        known = {"version": str(begun["version"]), **begun["facts"]}
        wanted = {"version": str(VERSION), **self._making.facts}
        for name, value in wanted.items():
            if known.get(name) != value:
                raise ConfigError(
                    f"the paper account in '{self._record.path.parent}' was begun with another "
                    f"{name}; begin another one with --out"
                )

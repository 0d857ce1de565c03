"""GrowingTerminal: a simulated terminal whose bars come from elsewhere, one at a time.

Orders fill at the open of the bar that forms. When the next bar opens, the one that formed takes
its true prices and passes as every bar of the simulated terminal does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mtquant.brokers.terminal.growth import Growth, Opening, TapeOf
from mtquant.brokers.terminal.records import OrderSendResult, TradeRequest
from mtquant.brokers.terminal.simulated import SimulatedTerminal
from mtquant.brokers.terminal.state import AccountTerms
from mtquant.market.bars import Bars
from mtquant.market.panel import Panel
from mtquant.market.symbols import SymbolSpec


def _nobody(request: TradeRequest) -> None:
    """Writes nothing down."""


class GrowingTerminal(SimulatedTerminal):
    """The whole API over bars that are extended at their end.

    Attributes:
        note: Told of each request that reaches the server, before it does anything.
    """

    def __init__(
        self,
        bars: Sequence[Bars],
        specs: Sequence[SymbolSpec],
        context_specs: Sequence[SymbolSpec],
        tape_of: TapeOf,
        *,
        window: int,
        terms: AccountTerms,
    ) -> None:
        """Open a flat account at the close of the newest closed bar.

        Args:
            bars: History and the bar that forms, traded symbols first, then context.
            specs: Contracts of the traded symbols.
            context_specs: Of the others.
            tape_of: Computes the kernel's columns over any run of bars.
            window: Bars of each symbol from which the two newest rows come out right.
            terms: The account.
        """
        self.note: Callable[[TradeRequest], None] = _nobody
        self._growth = Growth(bars, specs, tape_of, window)
        panel = self._growth.panel
        rows = (len(panel) - 2, len(panel) - 1)
        super().__init__(panel, (*specs, *context_specs), self._growth.tape, rows=rows, terms=terms)

    @property
    def panel(self) -> Panel:
        """All bars so far; the last row forms."""
        return self._growth.panel

    @property
    def known_ns(self) -> tuple[int, ...]:
        """Open of each symbol's newest bar, context last."""
        return self._growth.known_ns

    def grow(self, opening: Opening) -> None:
        """Let the forming bar pass with its true prices, and the next form."""
        firsts = self._growth.take(opening)
        for feed, first, bars in zip(self._feeds, firsts, opening.bars, strict=True):
            feed.extend(first, bars)
        self._panel = self._growth.panel
        self.account.extend(self._growth.panel, self._growth.tape)
        self.advance()

    def repeat(self, values: Mapping[str, Any]) -> None:
        """Serve a request that was noted in an earlier life."""
        super()._serve(TradeRequest.of(**values))

    def _serve(self, request: TradeRequest, order: int = 0) -> OrderSendResult:
        self.note(request)
        return super()._serve(request, order)

"""``Buy``, ``Sell`` and ``Close``, the module's own helpers, as it ships them.

They send no magic and no filling and repeat what is requoted up to ten times: nothing here uses
them. A simulated terminal has them because the module does.
"""

from __future__ import annotations

from typing import Any

from mtquant.brokers import constants as mt5
from mtquant.brokers.terminal.market import MarketCalls
from mtquant.brokers.terminal.records import OrderSendResult, TradePosition
from mtquant.brokers.terminal.trading import TradingCalls

_TRIES = 10
_DEVIATION = 10
_AGAIN = (mt5.TRADE_RETCODE_REQUOTE, mt5.TRADE_RETCODE_PRICE_OFF)


class Helpers(MarketCalls, TradingCalls):
    """Python beside the module's compiled functions; each call is a call of those."""

    def Buy(  # noqa: D102
        self,
        symbol: str,
        volume: float,
        price: float | None = None,
        *,
        comment: str | None = None,
        ticket: int | None = None,
    ) -> OrderSendResult | None:
        return self._deal(mt5.ORDER_TYPE_BUY, symbol, volume, price, comment, ticket)

    def Sell(  # noqa: D102
        self,
        symbol: str,
        volume: float,
        price: float | None = None,
        *,
        comment: str | None = None,
        ticket: int | None = None,
    ) -> OrderSendResult | None:
        return self._deal(mt5.ORDER_TYPE_SELL, symbol, volume, price, comment, ticket)

    def Close(
        self, symbol: str, *, comment: str | None = None, ticket: int | None = None
    ) -> bool | str | None:
        """Close a ticket or all of a symbol: True, "Partially" or False."""
        asked = {"symbol": symbol} if ticket is None else {"ticket": ticket}
        positions: tuple[TradePosition, ...] = self.positions_get(**asked) or ()
        done = 0
        for held in positions:
            side = 1 - held.type
            answer = self._deal(side, symbol, held.volume, None, comment, held.ticket)
            if answer is None:
                return None
            done += answer.retcode == mt5.TRADE_RETCODE_DONE
        if done == 0:
            return False
        return True if done == len(positions) else "Partially"

    def _deal(
        self,
        side: int,
        symbol: str,
        volume: float,
        price: float | None,
        comment: str | None,
        ticket: int | None,
    ) -> OrderSendResult | None:
        answer = None
        for _ in range(_TRIES):
            asked = price
            if asked is None:
                tick = self.symbol_info_tick(symbol)
                if tick is None:
                    return None
                asked = tick.ask if side == mt5.ORDER_TYPE_BUY else tick.bid
            request: dict[str, Any] = {
                "action": mt5.TRADE_ACTION_DEAL,
                "symbol": symbol,
                "volume": volume,
                "type": side,
                "price": asked,
                "deviation": _DEVIATION,
            }
            request |= {} if comment is None else {"comment": comment}
            request |= {} if ticket is None else {"position": ticket}
            answer = self.order_send(request)
            if price is not None or answer is None or answer.retcode not in _AGAIN:
                break
        return answer

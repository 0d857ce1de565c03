"""ConnectionPool: several accounts seen at once, for reading only.

What is the same for every account of one broker - bars, contracts - is read from whichever of them
answers. What belongs to an account - its positions - is read from that account or is *unknown*.
Nothing here can send an order: the pool holds :class:`mtquant.brokers.reading.Reads`, which have no
such function, and an order has one account and fails there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any, TypeVar

from mtquant.brokers import constants as mt5
from mtquant.brokers.accounts import AccountEntry
from mtquant.brokers.connection import AccountConnection, Health, Statistics
from mtquant.brokers.reading import Reads
from mtquant.errors import BrokerUnavailable, ConfigError, unknown
from mtquant.jit import Structured
from mtquant.market.symbols import SymbolTable
from mtquant.market.timeframe import Timeframe

T = TypeVar("T")


@dataclass(frozen=True)
class HeldPosition:
    """A position of one of the accounts.

    Attributes:
        account: Whose it is.
        symbol: Standard name; the broker's own where the symbols' file does not know it.
        ticket: At that account.
        magic: Of the order that opened it.
        volume_lots: Signed.
        price_open: Average price.
        profit: Not realised, in the account's currency.
        currency: Of the account.
    """

    account: str
    symbol: str
    ticket: int
    magic: int
    volume_lots: float
    price_open: float
    profit: float
    currency: str


@dataclass(frozen=True)
class Holdings:
    """Positions over all accounts.

    Attributes:
        positions: In the order of the accounts.
        unknown: Accounts that gave no answer; they may hold anything.
    """

    positions: tuple[HeldPosition, ...]
    unknown: tuple[str, ...]

    def net_lots(self) -> dict[str, float]:
        """Signed lots of each symbol over the accounts that answered."""
        sums: defaultdict[str, Decimal] = defaultdict(Decimal)
        for held in self.positions:
            sums[held.symbol] += Decimal(str(held.volume_lots))
        return {symbol: float(lots) for symbol, lots in sums.items()}


class ConnectionPool:
    """Accounts of one or several brokers."""

    def __init__(
        self,
        entries: Sequence[AccountEntry],
        open_reads: Callable[[AccountEntry], Reads],
        symbols: SymbolTable,
        now_ns: Callable[[], int],
    ) -> None:
        """Do not connect yet.

        Args:
            entries: The accounts; the first of a broker is read first.
            open_reads: Connects to one of them and verifies it.
            symbols: The symbols' names at the brokers.
            now_ns: A clock, ns UTC.

        Raises:
            ConfigError: No account, one twice, or several terminals for this one process.
        """
        names = [entry.name for entry in entries]
        if not names or len(set(names)) < len(names):
            raise ConfigError(f"a pool needs accounts, each once; given are {names}")
        local = [entry.name for entry in entries if entry.bridge is None]
        if len(local) > 1:
            raise ConfigError(
                f"one process speaks to one terminal, and {', '.join(local)} have theirs on this "
                "machine; reach all but one through `mtquant bridge serve`"
            )
        self._symbols = symbols
        self._connections: Mapping[str, AccountConnection] = {
            entry.name: AccountConnection(entry, partial(open_reads, entry), now_ns)
            for entry in entries
        }

    def check(self) -> tuple[Health, ...]:
        """The health of all accounts; those whose last check is 30 s old are asked anew."""
        for connection in self._connections.values():
            if connection.due():
                connection.check()
        return tuple(connection.health for connection in self._connections.values())

    def statistics(self) -> dict[str, Statistics]:
        """By account."""
        return {name: one.statistics for name, one in self._connections.items()}

    def symbol_info(self, broker_id: str, name: str) -> Any:
        """The contract of a standard symbol, from any account of that broker.

        Raises:
            BrokerUnavailable: None of them answered.
            ConfigError: No account of that broker, or no such symbol there.
        """
        theirs = self._symbols.broker_name(name, broker_id)
        return self._any(broker_id, lambda reads: reads.symbol_info(theirs))

    def rates(
        self, broker_id: str, name: str, timeframe: Timeframe, start_pos: int, count: int
    ) -> Structured:
        """Bars as :meth:`Reads.rates`, from any account of that broker; raises as above."""
        theirs = self._symbols.broker_name(name, broker_id)
        return self._any(broker_id, lambda reads: reads.rates(theirs, timeframe, start_pos, count))

    def positions(self) -> Holdings:
        """Positions of all accounts, each asked itself."""
        held: list[HeldPosition] = []
        silent: list[str] = []
        for name, connection in self._connections.items():
            try:
                found = connection.read(partial(_own_positions, connection.entry))
            except BrokerUnavailable:
                silent.append(name)
            else:
                held += [self._held(connection.entry, position) for position in found]
        return Holdings(tuple(held), tuple(silent))

    def close(self) -> None:
        """Disconnect from all."""
        for connection in self._connections.values():
            connection.close()

    def _any(self, broker_id: str, ask: Callable[[Reads], T]) -> T:
        """The first answer of the broker's accounts, those that were up before the others."""
        its = [c for c in self._connections.values() if c.entry.broker_id == broker_id]
        if not its:
            known = {c.entry.broker_id for c in self._connections.values()}
            raise ConfigError(unknown("broker of the pool", broker_id, known))
        problems = []
        for connection in sorted(its, key=lambda c: not c.health.up):
            if not connection.health.repairable:
                problems.append(connection.health.problem)
                continue
            try:
                return connection.read(ask)
            except BrokerUnavailable as problem:
                problems.append(str(problem))
        raise BrokerUnavailable(f"no account of {broker_id} answers: {'; '.join(problems)}")

    def _held(self, entry: AccountEntry, position: Any) -> HeldPosition:
        sign = 1.0 if position.type == mt5.POSITION_TYPE_BUY else -1.0
        try:
            name = self._symbols.standard_name(position.symbol, entry.broker_id)
        except ConfigError:
            name = position.symbol
        return HeldPosition(
            account=entry.name,
            symbol=name,
            ticket=position.ticket,
            magic=position.magic,
            volume_lots=sign * position.volume,
            price_open=position.price_open,
            profit=position.profit,
            currency=entry.currency,
        )


def _own_positions(entry: AccountEntry, reads: Reads) -> tuple[Any, ...]:
    """Positions of the account, and not of one that its terminal was switched to meanwhile."""
    entry.refuse_another(reads.account())
    return reads.positions()

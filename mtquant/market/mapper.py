"""SymbolMapper: one broker's names for the standard symbols, and back.

The names stand in ``configs/symbols.yaml`` alone; this is that table seen from one broker, and it
can be read again while a program runs.
"""

from __future__ import annotations

from collections.abc import Callable

from mtquant.errors import ConfigError, unknown
from mtquant.market.symbols import SymbolSpec, SymbolTable


class SymbolMapper:
    """The symbols of one broker.

    Attributes:
        broker: Its id, such as ``ic_markets``.
    """

    def __init__(self, broker: str, load: Callable[[], SymbolTable]) -> None:
        """Read the table.

        Args:
            broker: Id under ``brokers`` in the symbols' file.
            load: Reads the symbols' file, now and at each :meth:`reload`.

        Raises:
            ConfigError: The file is wrong, or names no symbol at that broker.
        """
        self.broker = broker
        self._load = load
        self._table = self._read()

    @property
    def names(self) -> tuple[str, ...]:
        """Standard names of the symbols that the broker is known to have."""
        table = self._table
        return tuple(name for name in table.names if self.broker in table[name].brokers)

    def to_broker(self, name: str) -> str:
        """What the broker calls the standard symbol ``name``.

        Raises:
            ConfigError: No such symbol, or none there; names the nearest.
        """
        return self._table.broker_name(name, self.broker)

    def to_standard(self, symbol: str) -> str:
        """The standard name of the broker's ``symbol``, in any case.

        Raises:
            ConfigError: The broker calls nothing so; names the nearest of its names.
        """
        known = [self.to_broker(name) for name in self.names]
        if symbol.strip().casefold() not in {theirs.casefold() for theirs in known}:
            raise ConfigError(unknown(f"symbol of {self.broker}", symbol, known))
        return self._table.standard_name(symbol, self.broker)

    def spec(self, name: str) -> SymbolSpec:
        """The contract of a standard symbol that the broker has; raises as :meth:`to_broker`."""
        self.to_broker(name)
        return self._table[name]

    def reload(self) -> None:
        """Read the file again; a file that is wrong leaves the table as it was.

        Raises:
            ConfigError: The file is wrong.
        """
        self._table = self._read()

    def _read(self) -> SymbolTable:
        table = self._load()
        brokers = {broker for name in table.names for broker in table[name].brokers}
        if self.broker not in brokers:
            cure = "(its names stand under 'brokers' in configs/symbols.yaml)"
            raise ConfigError(unknown("broker", self.broker, brokers, cure=cure))
        return table

"""The simulated terminal: the MetaTrader5 module's API over bars, and its faults."""

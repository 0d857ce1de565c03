"""Brokers: orders, positions and deals, spoken in the official MetaTrader5 module's API alone."""

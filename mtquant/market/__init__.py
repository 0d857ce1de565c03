"""Market data: bars, symbols, clocks, files, checks, the store, and seeded laws that make bars."""

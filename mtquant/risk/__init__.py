"""How much, whether, and when to stop: the same in training, backtest, paper and live."""

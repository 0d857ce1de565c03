"""Training: Stable-Baselines3 on the batched simulator, selected on validation, kept in bundles."""

"""Causal numbers from closed bars, and the one pipeline that turns them into observations."""

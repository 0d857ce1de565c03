"""An agent over bars, and what it was worth.

``ledger`` is the record that a run leaves, ``metrics`` its numbers, ``report`` the page of them.
"""

"""The bridge: the terminal's functions for any machine, over authenticated HTTP."""

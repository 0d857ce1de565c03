"""Live: one closed bar, one decision, journalled before it is sent; the same code for paper."""

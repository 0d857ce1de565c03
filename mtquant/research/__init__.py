"""Is it real? What columns are worth, measured before anybody trains on them."""

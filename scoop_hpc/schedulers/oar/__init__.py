"""OAR: its allocations only."""

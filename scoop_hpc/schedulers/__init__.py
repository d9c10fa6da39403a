"""The schedulers' dialects: one phrase book each."""

"""The worker: it executes futures, and creates more."""

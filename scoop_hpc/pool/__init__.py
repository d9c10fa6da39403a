"""An Executor's workers: the run's own, or a pool that the Executor starts."""

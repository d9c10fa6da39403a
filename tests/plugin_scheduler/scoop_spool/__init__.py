"""Spool, a scheduler for scoop_hpc: the example of docs/add-a-scheduler.rst."""

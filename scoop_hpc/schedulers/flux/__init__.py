"""Flux: its allocations only."""

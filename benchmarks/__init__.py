"""Benchmarks: each prints a ratio against something measured in the same run, as medians of several runs.

``python -m benchmarks`` runs all; ``python -m benchmarks start`` one. Inside a Slurm allocation ``start`` measures the
allocation's nodes: ``salloc --nodes 4 python -m benchmarks start``.
"""

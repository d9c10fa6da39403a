"""Benchmarks: scoop_hpc beside its peers, in one run, each figure from fresh processes; see README.rst."""

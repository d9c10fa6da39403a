"""A worker's share of its node: its CPUs, its GPUs, and its place among the workers.

Pure functions deal out what was granted, and say what the environment of a worker tells it of that. Whoever starts the
worker reads the files, and sets its affinity and its environment.
"""

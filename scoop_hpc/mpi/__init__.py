"""Ranks of an MPI become a run: they tell each other who they are, then MPI ends and ZeroMQ carries everything."""

"""Nodes of another allocation join a run, and leave it: the other end of `driving.parties`."""

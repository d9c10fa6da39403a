"""The broker: one on every node, in charge of load balancing."""

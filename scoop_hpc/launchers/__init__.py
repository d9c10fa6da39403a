"""Ways to start one agent on every node: each is a function that returns commands."""

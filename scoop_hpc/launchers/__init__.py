"""Start one agent on every node: each launcher returns the commands that do it."""

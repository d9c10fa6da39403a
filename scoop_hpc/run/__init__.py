"""Starting and ending a run: the driver, and an agent on every node."""

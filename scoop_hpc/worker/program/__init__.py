"""The user's program in a worker's process: loaded, checked, left, and its state kept apart from that of the tasks."""

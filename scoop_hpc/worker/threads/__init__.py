"""The threads beside a worker's main one: they look after it, and stand in for it, while that runs the user's code."""

"""A worker's threads: how deep a stack is; and those that look after the main one while it runs the user's code."""

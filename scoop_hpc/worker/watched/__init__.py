"""What a worker notes for those who watch the run."""

"""What those see who watch a run: its progress, its trace, its log."""

"""What a run was worth: its record, the analysis of that, and the ways to show it."""

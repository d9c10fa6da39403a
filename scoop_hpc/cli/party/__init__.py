"""The commands by which nodes join a run, and leave it."""

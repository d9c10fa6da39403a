"""The command `scoop-hpc`: one short module for each group of commands, loaded when asked for."""

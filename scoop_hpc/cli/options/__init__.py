"""The options of commands that take a job or a program, and the settings that stand in for them."""

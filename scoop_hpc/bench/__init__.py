"""Rows of the benchmarks, for a site to measure itself by.

What is in ``programs`` is run as a program, not imported: its functions are the program's, as a user's are.
"""

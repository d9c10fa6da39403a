"""Many calls of one function: map, reduce, scan, in chunks."""

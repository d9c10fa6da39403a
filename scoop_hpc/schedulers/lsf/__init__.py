"""IBM Spectrum LSF: its allocations only."""

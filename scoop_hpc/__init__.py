"""Map Python functions over the nodes of a batch job: futures, brokers, job scripts, no ssh."""

__version__ = "0.1.0"

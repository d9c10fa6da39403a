"""Messages that no process of a run would send: what reads them takes each, or refuses it, and nothing else."""

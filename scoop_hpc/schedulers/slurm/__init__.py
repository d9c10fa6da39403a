"""Slurm [slurm.schedmd.com]."""

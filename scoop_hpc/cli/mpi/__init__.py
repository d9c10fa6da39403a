"""Commands that an MPI starts, and the mpiexec that starts agents."""

"""A look at a site, from its login node and by a job."""

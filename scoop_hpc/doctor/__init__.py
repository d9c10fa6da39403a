"""A look at a site: facts of the login node and of a job's nodes, and what they say has to be changed.

::

    gather   --NodeFacts-->  checks  --Finding-->  whoever prints them
    job      --JobFacts--/

Checks are pure functions of facts, a file for each theme. `gather` looks at the machine that it runs on; `job` has the
program that looks at each node of a job, and measures between them.
"""

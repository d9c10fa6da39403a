"""A user's jobs: scripts, submission, status, reports, records."""

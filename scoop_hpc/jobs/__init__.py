"""What a user does with jobs: scripts, submission, status, reports, records."""

"""What the processes of a run print, on its way to the user."""

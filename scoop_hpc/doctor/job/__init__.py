"""What doctor's job does on its nodes."""

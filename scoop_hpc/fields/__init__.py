"""What a job may ask for: its options, their units and checks, and the values they become."""

"""PBS Pro, OpenPBS and Torque."""

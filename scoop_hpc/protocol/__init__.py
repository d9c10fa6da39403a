"""What the processes of a run say to each other: values and their encoding, no sockets."""

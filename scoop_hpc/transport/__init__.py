"""ZeroMQ as the rooms of the house share it: keys, authentication, addresses, lost connections."""

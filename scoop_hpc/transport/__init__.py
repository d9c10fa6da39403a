"""ZeroMQ for all processes of a run: sockets, keys, authentication, addresses, shared memory."""

"""The protocol between the processes of a run: messages, their encoding, names; no sockets."""

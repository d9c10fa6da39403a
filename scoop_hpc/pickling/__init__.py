"""Values to and from frames. The only room that opens pickles."""

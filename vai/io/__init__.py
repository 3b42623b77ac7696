"""The only layer that uses sockets, files, shared memory, clocks and credentials."""

"""The only ring with sockets, files, shared memory, clocks and credentials."""

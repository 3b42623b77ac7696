"""Bytes to values and back, no I/O: strict JSON, routing fields, event streams, request heads."""

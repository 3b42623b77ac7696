"""Bytes to values and back, without I/O: strict JSON, envelopes, event streams, request heads."""

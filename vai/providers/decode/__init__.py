"""Upstream bytes to stream events and messages, for every wire format."""

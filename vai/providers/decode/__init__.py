"""Decodes upstream bytes into stream events and messages, for every wire format."""

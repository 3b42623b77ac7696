"""Limits as pure arithmetic: what they are, when they refuse, and what the client receives."""

"""Limits as pure arithmetic: what they are, when they refuse, and what is told about it."""

"""Translates the parts of a request that several wire formats have in common."""

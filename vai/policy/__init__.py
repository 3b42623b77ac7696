"""Decisions as pure functions: the clock, the settings and the facts are passed in."""

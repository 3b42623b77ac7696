"""Limits in memory that all processes of a box share."""

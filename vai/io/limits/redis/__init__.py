"""Limits that several machines share, on a Redis or Valkey server."""

"""Adapters: pure translations between the Messages API and the providers' wire formats."""

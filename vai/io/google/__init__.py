"""Signing in with Google, and renewing the login: Code Assist requires a login instead of a key."""

"""Signing in with Google, and staying signed in: what Code Assist asks for in place of a key."""

"""Signing in with Google, and staying signed in: what Code Assist requires instead of a key."""

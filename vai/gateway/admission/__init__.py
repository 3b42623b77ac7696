"""Who calls, whom the request counts for, and whether it may run now."""

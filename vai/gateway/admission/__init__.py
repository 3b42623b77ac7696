"""The client of a request, its principals, and whether it may run now."""

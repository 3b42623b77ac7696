"""What maintainers run by hand or in the build: no part of what is installed."""

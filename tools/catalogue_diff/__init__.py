"""Holds the catalogue against the price lists that packages of PyPI carry.

    python -m tools.catalogue_diff

The command downloads `genai-prices` and `litellm` without their dependencies, reads the lists out
of the wheels, imports nothing of them, and prints each difference with the date of either side.
It changes nothing: a maintainer corrects the catalogue, or explains the difference in
`explained.toml`.
"""

"""The HTTP surface: the only package that imports Sanic."""

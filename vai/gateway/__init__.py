"""The HTTP surface: the only ring that knows Sanic."""

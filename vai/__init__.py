"""VAI: one gateway for every LLM and for live voice."""

__version__ = "0.1.0"

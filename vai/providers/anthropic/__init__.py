"""Anthropic's Messages API, which VAI's own types follow closely."""

"""Anthropic's Messages API: nearly VAI's own words."""

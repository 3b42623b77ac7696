"""The conductor of one LLM exchange."""

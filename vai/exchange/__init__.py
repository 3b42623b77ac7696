"""One LLM exchange, from admission to settlement."""

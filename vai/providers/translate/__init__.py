"""Parts of a request that several wire formats translate alike."""

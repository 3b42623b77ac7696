"""One request: its body, its targets and modes, its response and its errors."""

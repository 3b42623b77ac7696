"""One request: its body, its targets and lanes, its response and its errors."""

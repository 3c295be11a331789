"""The edge: what the outside world speaks to. Knows protocols and status codes, nothing of vision."""

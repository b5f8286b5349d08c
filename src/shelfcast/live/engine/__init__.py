"""A trained market that moves: its latest forecasts, what renews them, and what answers questions about them."""

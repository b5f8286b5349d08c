"""Recommendations: what each shopper buys next, and what she may like: learned, mixed, measured, put in groups."""

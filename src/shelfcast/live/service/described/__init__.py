"""What the service tells of its own calls: a page, and examples that work."""

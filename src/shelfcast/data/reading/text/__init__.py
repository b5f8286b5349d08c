"""Cells of text: how numbers and dates are written, and what to advise where they cannot be read."""

"""Cached state: keys and values of every series, so that a closed week costs one token instead of its whole history."""

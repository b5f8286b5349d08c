"""Columns and locations by what they mean, so that a model fits markets whose tables differ."""

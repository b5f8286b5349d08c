"""Drift: whether forecasts err in a new way, by their residuals of the weeks that have passed."""

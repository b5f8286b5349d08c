"""Keeping up: forecasts that move as weeks and events arrive."""

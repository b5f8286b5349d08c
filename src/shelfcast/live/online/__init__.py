"""Forecasts that learn from the weeks that arrive: level correction, online learning, refit, and their replay."""

"""A service of a trained market: events come in, forecasts, reasons and what-if answers go out."""

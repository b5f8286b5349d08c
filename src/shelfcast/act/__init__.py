"""What follows from forecasts: orders, promotions, recommendations."""

"""What a retailer would have of a simulated market."""

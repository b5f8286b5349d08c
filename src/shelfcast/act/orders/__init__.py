"""What to order: demand paths, order-up-to levels, their replay on past weeks, and demand where stock-outs cut sales."""

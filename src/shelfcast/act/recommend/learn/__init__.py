"""What recommendations are learned from and by: forecasts, factorisations, columns of shopper and product, their mix."""

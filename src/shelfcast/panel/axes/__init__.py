"""What a panel is made of: its weeks, products, stores and regions, chosen by training weeks alone."""

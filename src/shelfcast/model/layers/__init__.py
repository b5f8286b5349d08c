"""Layers of SalesBert: attention over weeks and locations, spillover between regions, the head for new products."""

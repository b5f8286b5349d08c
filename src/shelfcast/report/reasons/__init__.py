"""The Why section of the page: what moved forecasts, and what prices and promotions do"""

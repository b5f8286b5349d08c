"""What-if: forecasts under another plan of prices and promotions"""

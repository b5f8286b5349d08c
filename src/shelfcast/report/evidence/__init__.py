"""The evidence section of the page: how good the forecasts are, and what studies found"""

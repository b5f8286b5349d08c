"""Why a forecast is what it is, and what price and promotion do"""

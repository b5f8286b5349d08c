"""The promotion plan: what a promotion of each product in each coming week gains, and which to choose"""

"""Small markets of other trades with known truth: spare parts, parcels by route, accounts by branch."""

"""The part of the page that one acts on: orders, promotions, shoppers, doubts, what changed, and downloads."""

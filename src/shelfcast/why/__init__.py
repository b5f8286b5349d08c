"""Why a forecast is what it is, what prices and promotions cause, and what would be under another plan."""

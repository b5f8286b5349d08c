"""Human names of categories and products."""

import pandas as pd

from shelfcast.data import labels


def test_products():
    till = {"product_type": "SFT DRNK 2 LITER BTL CARB INCL", "category": "SOFT DRINKS", "package_size": "2 LTR"}
    assert labels.product_label(pd.Series(till | {"text": "…"})) == "2 liter bottle carbonated"
    assert labels.product_label(pd.Series({"text": "blend: green tea; size: 20", "category": "TEA"})) == "Green tea; 20"
    described = {"text": "category: juice; description: minute maid", "description": "Minute Maid", "category": "JUICE"}
    assert labels.product_label(pd.Series(described)) == "Minute maid"
    long = {"name": "Brook & Vale raspberry sparkling water, no sugar added, 500 ml bottle", "text": "…"}
    assert labels.product_label(pd.Series(long)) == "Brook & vale raspberry sparkling water, no sugar added, …"


def test_categories():
    assert labels.category_label("FRZN POTATOES") == "Frozen potatoes"
    assert labels.category_label("soft_drinks") == "Soft drinks"

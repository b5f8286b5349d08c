"""Human names of categories and products."""

import pandas as pd
import pytest

from shelfcast.data import labels
from shelfcast.data.labels import product_label, product_labels


def named(*rows, **columns) -> pd.DataFrame:
    """Products p0, p1, … of those attributes, with the text that a panel makes of them."""
    products = pd.DataFrame(list(rows) or columns)
    products.index = pd.Index([f"p{i}" for i in range(len(products))], name="product_id")
    return products.assign(text="never shown", units=1.0)


def test_products():
    till = {"product_type": "SFT DRNK 2 LITER BTL CARB INCL", "category": "SOFT DRINKS", "package_size": "2 LTR"}
    assert product_label(pd.Series(till | {"text": "…"})) == "2 liter bottle carbonated"
    assert product_label(pd.Series({"text": "blend: green tea; size: 20", "category": "TEA"})) == "Green tea; 20"
    described = {"text": "category: juice; description: minute maid", "description": "Minute Maid", "category": "JUICE"}
    assert product_label(pd.Series(described)) == "Minute maid"
    long = {"name": "Brook & Vale raspberry sparkling water, no sugar added, 500 ml bottle", "text": "…"}
    assert product_label(pd.Series(long)) == "Brook & vale raspberry sparkling water, no sugar added, …"


def test_a_name_without_spaces_is_cut_to_its_first_letters():
    assert product_label(pd.Series({"name": "茶" * 70, "text": "…"})) == "茶" * 59 + "…"


def test_names_that_differ_stay_as_they_are():
    products = named({"name": "Cola", "pack": "can"}, {"name": "Tea", "pack": "bottle"})
    assert list(product_labels(products)) == ["Cola", "Tea"]


def test_equal_names_get_the_attribute_that_differs():
    products = named(
        {"name": "Cola", "brand": "Ada", "pack": "can"},
        {"name": "Cola", "brand": "Ada", "pack": "Bottle"},
        {"name": "Tea", "brand": "Ada", "pack": "can"},
    )
    assert list(product_labels(products)) == ["Cola, can", "Cola, bottle", "Tea"]


def test_the_fewest_and_shortest_attributes_that_tell_all_apart():
    """Colour tells two of three apart, and each of maker and size all; size has fewer letters."""
    products = named(
        name=["Cola"] * 3,
        colour=["red", "red", "blue"],
        maker=["Adalbert", "Berta", "Caesar"],
        size=[1, 2, 5],
    )
    assert list(product_labels(products)) == ["Cola, 1", "Cola, 2", "Cola, 5"]
    both = named(name=["Cola"] * 4, colour=["red", "red", "blue", "blue"], size=[1.5, 2, 1.5, 2])
    assert list(product_labels(both)) == ["Cola, red, 1.5", "Cola, red, 2", "Cola, blue, 1.5", "Cola, blue, 2"]


def test_words_that_a_name_says_already_are_not_said_again():
    products = named(name=["Mixer"] * 2, kind=["MIXER(TONIC)", "MIXER(CLUB SODA)"])
    assert list(product_labels(products)) == ["Mixer, tonic", "Mixer, club soda"]


def test_the_id_stands_only_where_nothing_differs():
    products = named(name=["Cola"] * 3, pack=["can", "can", None])
    assert list(product_labels(products)) == ["Cola, can (p0)", "Cola, can (p1)", "Cola"]
    assert list(product_labels(products, ids=False)) == ["Cola, can", "Cola, can", "Cola"]


def test_columns_that_were_computed_tell_nothing_apart():
    products = named(name=["Cola"] * 2).assign(text=["a", "b"], units=[1.0, 2.0])
    assert list(product_labels(products)) == ["Cola (p0)", "Cola (p1)"]


def test_names_that_are_equal_once_cut_are_shown_whole():
    start = "Brook & vale raspberry sparkling water, no sugar added, bottle of"
    products = named(name=[f"{start} glass", f"{start} plastic", "Tea"])
    assert list(product_labels(products)) == [f"{start} glass", f"{start} plastic", "Tea"]


@pytest.mark.parametrize(
    ("name", "packs"),
    [("可乐", ["罐装", "瓶装"]), ("Чай", ["пакет", "коробка"]), ("شاي", ["كيس", "علبة"]), ("Cola", ["ｃａｎ", "can"])],
)
def test_in_any_script(name, packs):
    made = product_labels(named(name=[name] * 2, pack=packs))
    assert made.is_unique and made.str.startswith(f"{name}, ").all()


def test_names_that_only_look_different_are_told_apart():
    """The same é as one letter and as two, and a name that looks like a name with an id."""
    products = named(name=["Caf\u00e9", "Cafe\u0301", "Tea", "Tea", "Tea (p2)"])
    made = product_labels(products)
    assert made.is_unique and made["p0"] == "Caf\u00e9 (p0)" and made["p3"] == "Tea (p3)"


def test_the_order_of_products_changes_no_label_and_labels_change_no_product():
    products = named(name=["Cola"] * 4, colour=["red", "red", "blue", "blue"], size=["1", "2", "1", "1"])
    before = products.copy(deep=True)
    made = product_labels(products)
    assert made.is_unique and list(made.index) == list(products.index)
    backwards = product_labels(products.iloc[::-1])
    assert backwards.reindex(products.index).equals(made)
    pd.testing.assert_frame_equal(products, before)
    assert product_labels(products.iloc[:0]).empty


def test_categories():
    assert labels.category_label("FRZN POTATOES") == "Frozen potatoes"
    assert labels.category_label("soft_drinks") == "Soft drinks"

"""What is said of product texts that a tokenizer cuts or does not know."""

import pandas as pd
import pytest

from shelfcast.model.tensors import MAX_TEXT, load_tokenizer
from shelfcast.training.texts import text_notes, unknown_words

KNOWN = ["category: tea; name: green tea of the house 20 bags", "category: tee; name: ostfriesenmischung kräuter bio"]
UNKNOWN = {
    "Chinese": "category: 茶; name: 绿茶 碧螺春 500克",
    "Russian": "category: чай; name: зелёный чай в пакетиках",
    "Korean": "category: 차; name: 녹차",
    "Hindi": "category: चाय; name: हरी चाय",
    "Arabic": "category: شاي; name: شاي أخضر",
}


@pytest.fixture(scope="module")
def minilm():
    return load_tokenizer("minilm")


def notes(tokenizer, *texts):
    return text_notes(pd.DataFrame({"text": texts}), tokenizer)


@pytest.mark.parametrize("language", list(UNKNOWN))
def test_another_language_is_told_with_the_option(minilm, language):
    (note,) = notes(minilm, UNKNOWN[language])
    assert "does not know" in note and "finetune.backbone" in note
    assert notes(minilm, *KNOWN) == []


def test_a_tenth_of_the_words(minilm):
    """Names of attributes do not count: they are English wherever tables are written in English."""
    assert unknown_words(["green tea 20 绿"], minilm) == (["绿"], 3)
    nine = "category: tea; name: green tea of the house with red fruit"
    assert notes(minilm, nine + " 绿") == [] and len(notes(minilm, "category: tea; name: green 绿")) == 1
    assert len(notes(minilm, "; ".join(f"attribute {i}: 5" for i in range(9)) + "; name: 绿")) == 1


def test_cut_texts_are_counted(minilm):
    n_special = 2  # tokens that begin and end a text
    fits, longer = ("name: " + " ".join(["tea"] * n) for n in (MAX_TEXT - n_special - 2, MAX_TEXT - n_special - 1))
    assert notes(minilm, fits, KNOWN[0]) == []
    (note,) = notes(minilm, fits, longer, longer)
    assert note.startswith(f"the text of 2 of 3 products is longer than {MAX_TEXT} tokens")


def test_products_without_text(minilm, tiny_bert):
    assert notes(minilm, None, "") == []
    assert len(notes(load_tokenizer(tiny_bert), "name: oat milk")) == 1  # a small vocabulary of its own

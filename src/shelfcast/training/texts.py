"""What a backbone's tokenizer makes of product texts: how many are cut, and how many words it does not know."""

from __future__ import annotations

import pandas as pd

from shelfcast.model.tensors import MAX_TEXT

MOST_UNKNOWN = 0.1  # share of words; above it the backbone reads little of the texts
SPELLED = 3  # letters, from which on a word that is cut into single letters is not known


def text_notes(products: pd.DataFrame, tokenizer) -> list[str]:
    """Sentences about texts that are cut or not understood; empty where all is well.

    Parameters
    ----------
    products : see `Panel.products`. tokenizer : the backbone's own.
    """
    texts = products["text"].fillna("").tolist()
    notes = []
    if n_cut := sum(len(tokens) > MAX_TEXT for tokens in tokenizer(texts)["input_ids"]):
        notes.append(
            f"the text of {n_cut:,} of {len(texts):,} products is longer than {MAX_TEXT} tokens, and its end is not read: "
            "put attributes that matter first in products, or leave out others"
        )
    unknown, n_words = unknown_words([_values(text) for text in texts], tokenizer)
    if len(unknown) > MOST_UNKNOWN * n_words:
        notes.append(
            f"the backbone does not know {len(unknown) / n_words:.0%} of the words in products' texts, such as "
            f"{', '.join(dict.fromkeys(unknown[:20]))[:80]}: set finetune.backbone to a model of their language"
        )
    return notes


def _values(text: str) -> str:
    """A text without the names of its attributes, which belong to the tables, not to the product."""
    return " ".join(part.partition(": ")[2] for part in text.split("; "))


def unknown_words(texts: list[str], tokenizer) -> tuple[list[str], int]:
    """The words of which the tokenizer makes its sign for unknown, or single letters; and how many words there are.

    A word is what the tokenizer takes for one, with a letter in it; slow tokenizers do not say, and nothing is counted.
    """
    if not tokenizer.is_fast:
        return [], 0
    unknown, n_words = [], 0
    for text in texts:
        encoded = tokenizer(text, add_special_tokens=False)
        pieces: dict[int, list[int]] = {}
        for at, word in enumerate(encoded.word_ids()):
            if word is not None:
                pieces.setdefault(word, []).append(encoded["input_ids"][at])
        for word, ids in pieces.items():
            span = encoded.word_to_chars(word)
            name = text[span.start : span.end]
            if any(letter.isalpha() for letter in name):
                n_words += 1
                spelled = len(ids) >= max(len(name), SPELLED) or len(ids) > len(name)
                if spelled or tokenizer.unk_token_id in ids:
                    unknown.append(name)
    return unknown, n_words

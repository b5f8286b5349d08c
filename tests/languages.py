"""English words on a page that should have none: what a person reads of it, its figures and alternative texts included."""

import base64
import html
import re

NAMES = [
    "AutoETS",
    "BERT",
    "Croston",
    "SBA",
    "Fracast",
    "LightGBM",
    "Shelfcast",
    "shelfcast",
    "Shapley",
    "Transformer",
    "Excel",
    "CSV",
    "NDCG",
    "WQL",
    "WAPE",
    "RMSSE",
    "Student",
    "kB",
    "MB",
    "md5",
    "UTC",
    "ALS",
    "BPR",
]
# Files, parameters, columns, and revisions of git.
MACHINE = re.compile(r"\b\w+(?:[._]\w+)+\b|`\w+`|\b(?=[0-9a-f]*\d)[0-9a-f]{7,40}\b", re.ASCII)


def shown(page: str) -> str:
    """Everything that is read or heard of a page's main part."""
    main = re.sub(r"<(script|style|code)\b.*?</\1>", " ", page, flags=re.DOTALL)
    figures = [base64.b64decode(data).decode() for data in re.findall(r'data:image/svg\+xml;base64,([^"]+)"', main)]
    labels = [text for figure in figures for text in re.findall(r"<text[^>]*>([^<]*)</text>", figure)]
    main = re.sub(r'(?:src|href)="data:[^"]*"', "", main)
    labels += re.findall(r'(?:alt|placeholder|aria-label)="([^"]*)"', main)
    return html.unescape(" | ".join([re.sub(r"<[^>]+>", " ", main), *labels]))


def english_words(page: str, known: str = "") -> set[str]:
    """Words of three Latin letters or more that are neither names of methods and files nor in `known`, a text of the data."""
    allowed = {word.lower() for word in [*NAMES, *re.findall(r"[A-Za-z]+", known)]}
    text = MACHINE.sub(" ", shown(page))
    return {word for word in re.findall(r"[A-Za-z]{3,}", text) if word.lower() not in allowed}

"""How far explanations may be trusted: the scores of the study of explanations, as sentences and a table.

The study knows the truth on the simulated market alone, so that its scores stand for all markets; what needs no truth
(inputs taken away, shuffled weights) is of the market itself where the study looked at it.
"""

from __future__ import annotations

import pandas as pd

METHODS = {
    "shapley": "Shapley values of groups",
    "gradients": "integrated gradients",
    "attention": "attention of the last layer",
    "rollout": "attention through all layers",
}
COLUMNS = {"shapley": "units", "gradients": "gradients"}  # of an explanation's frame; attention has no units
FOLLOWS = 0.5  # rank correlation with the truth over products, below which a group is called unreliable
LOCATION = "chain"


def best(study: dict, methods=tuple(METHODS)) -> str:
    """The method whose order of the inputs is nearest to the truth, the mean over the locations that were looked at.

    Parameters
    ----------
    study : results of the simulated market. methods : to choose among.
    """
    scores = pd.DataFrame({at: {m: rows[m]["size_agreement"] for m in methods} for at, rows in study["scores"].items()})
    return str(scores.mean(axis=1).idxmax())


def sentence(study: dict, shown: str) -> str:
    """The method that is shown with its score, attention with its own, and who won."""
    chain = study["scores"][LOCATION]
    winner = best(study)
    judged = "the best of four ways to explain" if shown == winner else f"second to {METHODS[winner]}"
    own, attention = chain[shown], chain["attention"]
    return (
        f"Bars are {METHODS[shown]}, {judged} on a simulated market whose laws are known: their order of the inputs "
        f"agrees with the true one by <b>{own['size_agreement']:.2f}</b> (rank correlation; 1 is perfect, 0 is chance), "
        f"and they find the inputs that truly matter with an area under precision–recall of {own['precision_recall']:.2f} "
        f"(guessing: {own['chance']:.2f}). Attention reaches {attention['size_agreement']:.2f} and "
        f"{attention['precision_recall']:.2f}."
    )


def score_words(study: dict, method: str) -> str:
    """'agrees with the truth by 0.36', of a method in the study of the simulated market."""
    return f"agrees with the truth by {study['scores'][LOCATION][method]['size_agreement']:.2f}"


def caution(study: dict, shown: str, labels: dict[str, str]) -> str:
    """Groups of inputs whose contributions do not follow the truth over products; '' where all do.

    Parameters
    ----------
    labels : group -> its name for people, of the groups that the page shows.
    """
    follows = study["by_group"][LOCATION].get(shown, {})
    weak = {labels[group]: value for group, value in follows.items() if group in labels and value < FOLLOWS}
    if not weak:
        return ""
    listed = ", ".join(f"{label} ({value:.2f})".replace("-", "−") for label, value in sorted(weak.items()))
    return (
        f"<b>Read with care</b>: over products of that market these bars did not follow the truth (rank correlation "
        f"below {FOLLOWS:g}): {listed}."
    )


def table(study: dict, own: dict) -> pd.DataFrame:
    """Scores of all methods, best first.

    Parameters
    ----------
    study : of the simulated market. own : of the market of the page; empty where the study did not look at it.
    """
    truth = study["scores"][LOCATION]
    rows = []
    for method in sorted(METHODS, key=lambda m: -truth[m]["size_agreement"]):
        row = {
            "Way to explain": METHODS[method],
            "Agrees with the truth": f"{truth[method]['size_agreement']:.2f}",
            "Finds what matters": f"{truth[method]['precision_recall']:.2f}",
        }
        scores = own.get("scores", {}).get(LOCATION, truth)[method]
        row["Taken away, moves (× random)"] = f"{scores['deletion']:.2f}"
        row["Like shuffled weights"] = f"{scores['shuffled']:.2f}".replace("-", "−")
        rows.append(row)
    return pd.DataFrame(rows)

"""How far explanations may be trusted: the scores of the study of explanations, as sentences and a table.

The study knows the truth on the simulated market alone, so that its scores stand for all markets; what needs no truth
(inputs taken away, shuffled weights) is of the market itself where the study looked at it.
"""

from __future__ import annotations

import pandas as pd

from shelfcast.language import N_, _, items

METHODS = {
    "shapley": N_("Shapley values of groups"),
    "gradients": N_("integrated gradients"),
    "attention": N_("attention of the last layer"),
    "rollout": N_("attention through all layers"),
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
    judged = _("the best of four ways to explain")
    if shown != winner:
        judged = _("second to {method}", method=_(METHODS[winner]))
    own, attention = chain[shown], chain["attention"]
    return _(
        "Bars are {method}, {judged} on a simulated market whose laws are known: their order of the inputs "
        "agrees with the true one by <b>{agreement:.2f}</b> (rank correlation; 1 is perfect, 0 is chance), "
        "and they find the inputs that truly matter with an area under precision–recall of {found:.2f} "
        "(guessing: {chance:.2f}). Attention reaches {attention_agreement:.2f} and {attention_found:.2f}.",
        method=_(METHODS[shown]),
        judged=judged,
        agreement=own["size_agreement"],
        found=own["precision_recall"],
        chance=own["chance"],
        attention_agreement=attention["size_agreement"],
        attention_found=attention["precision_recall"],
    )


def score_words(study: dict, method: str) -> str:
    """'agrees with the truth by 0.36', of a method in the study of the simulated market."""
    return _("agrees with the truth by {score:.2f}", score=study["scores"][LOCATION][method]["size_agreement"])


def caution(study: dict, shown: str, labels: dict[str, str]) -> str:
    """Groups of inputs whose contributions do not follow the truth over products; '' where all do.

    Parameters
    ----------
    labels : group -> its name for people, of the groups that the page shows.
    """
    follows = study["by_group"][LOCATION].get(shown, {})
    weak = {_(labels[group]): value for group, value in follows.items() if group in labels and value < FOLLOWS}
    if not weak:
        return ""
    one = N_("{label} ({score})")
    parts = [_(one, label=label, score=f"{value:.2f}").replace("-", "−") for label, value in sorted(weak.items())]
    return _(
        "<b>Read with care</b>: over products of that market these bars did not follow the truth (rank correlation "
        "below {least:g}): {groups}.",
        least=FOLLOWS,
        groups=items(parts),
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
            _("Way to explain"): _(METHODS[method]),
            _("Agrees with the truth"): f"{truth[method]['size_agreement']:.2f}",
            _("Finds what matters"): f"{truth[method]['precision_recall']:.2f}",
        }
        scores = own.get("scores", {}).get(LOCATION, truth)[method]
        row[_("Taken away, moves (× random)")] = f"{scores['deletion']:.2f}"
        row[_("Like shuffled weights")] = f"{scores['shuffled']:.2f}".replace("-", "−")
        rows.append(row)
    return pd.DataFrame(rows)

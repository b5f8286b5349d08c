"""Figures: they draw what they are given, as SVG with text in the reader's own font."""

import base64
import re

import numpy as np
import pandas as pd
import pytest

from shelfcast.report import plots, theme
from studies.tune import plots as tune_plots

MONDAYS = pd.date_range("2022-01-03", periods=12, freq="7D")


def texts(figure) -> str:
    """Everything that is written in a figure, its title in front."""
    title = figure.get_suptitle()
    return " | ".join([title, *re.findall(r"<text[^>]*>([^<]+)</text>", theme.svg(figure))])


@pytest.fixture()
def ahead():
    weeks = MONDAYS[-1] + pd.to_timedelta([7, 14], unit="D")
    return pd.DataFrame({"ds": weeks, "mean": 5.0, "q100": 2.0, "q250": 3.0, "q750": 7.0, "q900": 9.0})


def test_show_moves_the_title_into_the_page_and_escapes_it(ahead):
    html = theme.show(plots.fan(pd.Series(4.0, MONDAYS), ahead, "Tea & <lime>"), caption="a caption", columns=2).data
    assert "<h3>Tea &amp; &lt;lime&gt;</h3>" in html and 'alt="Tea &amp; &lt;lime&gt;"' in html
    assert '<div class="grid c2">' in html and '<p class="caption">a caption</p>' in html
    svg = base64.b64decode(re.search(r"base64,([^\"]*)", html)[1]).decode()
    assert "system-ui" in svg and "DejaVu" not in svg and "Tea" not in svg


def test_a_figure_is_the_same_file_every_time(ahead):
    first, second = (theme.svg(plots.fan(pd.Series(4.0, MONDAYS), ahead, "same")) for _ in range(2))
    assert first == second


def test_fan_names_what_it_shows(ahead):
    history = pd.Series(4.0, MONDAYS)
    drawn = texts(plots.fan(history, ahead, "tea", ahead.assign(ds=MONDAYS[-2:]), MONDAYS[:2], size=plots.HALF))
    assert all(words in drawn for words in ("sold", "expected", "80 % range", "earlier forecast", "promotion"))
    assert "expected" not in texts(plots.fan(history, ahead, "tea", key=False))


def test_intervals_keep_groups_apart_and_mark_ours():
    rows = pd.DataFrame({"label": ["ours", "b", "a", "bound"], "estimate": [0.0, 0.2, 0.1, -0.1]})
    rows = rows.assign(low=rows["estimate"] - 0.05, high=rows["estimate"] + 0.05)
    rows["group"] = ["ours", "alternative", "alternative", "upper bound"]
    figure = plots.intervals(rows, "title", "error")
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["ours", "a", "b", "bound"]
    markers = {line.get_marker(): line.get_markerfacecolor() for line in axes.lines if line.get_marker() != "None"}
    assert markers == {"D": theme.BLUE, "o": theme.INK, "s": "white"}


def test_regions_that_share_shoppers_are_neighbours():
    """A chain of regions 0 - 2 - 1 - 3: on the circle each is next to those it shares shoppers with."""
    weights = np.zeros((4, 4))
    for i, j in ((0, 2), (2, 1), (1, 3)):
        weights[i, j] = weights[j, i] = 1.0
    x, y = plots.graph_layout(weights)
    order = np.argsort(np.arctan2(x, y) % (2 * np.pi)).tolist()
    assert order in ([0, 2, 1, 3], [3, 1, 2, 0])


def test_regions_on_a_map_stand_where_they_lie():
    x, y = plots.graph_layout(np.ones((3, 3)), np.array([[10.0, 50.0], [12.0, 50.0], [11.0, 52.0]]))
    assert x.tolist() == [-1.5, 1.5, 0.0] and y.tolist() == [-1.0, -1.0, 1.0]


def test_region_graph_names_regions_and_changes():
    names = ["North", "South"]
    graph = pd.DataFrame(1.0, names, names)
    drawn = texts(plots.region_graph(graph, pd.Series([2.0, 1.0], names), pd.Series([0.1, np.nan], names), "map"))
    assert "North" in drawn and "+10" in drawn and "–" in drawn
    alone = pd.DataFrame(1.0, ["North"], ["North"])
    assert "North" in texts(plots.region_graph(alone, pd.Series(2.0, ["North"]), pd.Series(0.1, ["North"]), "one"))


def test_scores_by_group_coverage_and_pit():
    scores = pd.DataFrame({"Shelfcast": [0.3, 0.4], "8-week average": [0.5, np.nan]}, index=[1, 2])
    assert "8-week average" in texts(plots.groups(scores, "by horizon", "weeks ahead"))
    measured = pd.DataFrame({"50": [0.5], "80": [0.8], "95": [0.94]}, index=["Shelfcast"])
    axes = plots.coverage(measured, "coverage").axes[0]
    assert axes.lines[1].get_ydata().tolist() == pytest.approx([50, 80, 94])
    assert "perfect" in texts(plots.pit({"chain": np.full(10, 0.1)}, "flat"))


def test_training_marks_the_best_step_of_the_first_phase():
    rows = [("select", 0, 1, 1.0, 0.5, False), ("select", 0, 2, 0.9, 0.4, True), ("refit", 0, 1, 1.0, np.nan, False)]
    history = pd.DataFrame(rows, columns=["phase", "seed", "step", "loss", "wql", "best"])
    lines = plots.training(history, "learning").axes[1].lines
    assert lines[0].get_ydata().tolist() == [0.5, 0.4] and lines[1].get_xdata().tolist() == [2]


def test_timeline_shades_what_cutoffs_look_ahead_to():
    cutoffs = {"validation": [MONDAYS[4]], "test": [MONDAYS[8]]}
    drawn = texts(plots.timeline(pd.Series(3.0, MONDAYS), cutoffs, 2, "weeks"))
    assert "validation" in drawn and "test" in drawn


def test_the_figures_of_a_search():
    trials = pd.DataFrame({"wql": [0.5, 0.4, 0.6], "pruned": [False, False, True], "width": [64, 128, 32]})
    curves = pd.DataFrame({0: [0.6, 0.5], 1: [0.5, 0.4], 2: [0.6, np.nan]}, index=[1, 2])
    drawn = texts(tune_plots.search(trials, curves, "three trials"))
    assert "best so far" in drawn and "pruned, at its last step" in drawn and "present setting" in drawn
    assert "width" in texts(tune_plots.slices(trials, {"width": True}, "by width"))

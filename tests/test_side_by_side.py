"""Markets side by side: which stages are whose. That they run is in test_pipeline."""

from shelfcast.pipeline.side_by_side import parts_of, stages_of


def test_a_markets_own_stages_in_order():
    names = [
        "check",
        "simulate@tea",
        "prepare@tea",
        "prepare@tea_2",
        "base",
        "finetune@tea-wide",
        "finetune@tea_2-wide",
    ]
    names += ["report@tea", "report@tea_2", "index"]
    assert stages_of("tea", names) == ["prepare@tea", "finetune@tea-wide", "report@tea"]
    assert stages_of("tea_2", names) == ["prepare@tea_2", "finetune@tea_2-wide", "report@tea_2"]


def test_stages_that_only_read_forecasts_run_beside_each_other():
    names = ["prepare", "finetune", "evaluate", "explain", "given", "stream", "decide", "report"]
    stages = [f"{name}@tea" for name in names]
    before, groups, after = parts_of(stages)
    assert before == ["prepare@tea", "finetune@tea", "evaluate@tea"]
    assert groups == [["explain@tea"], ["stream@tea"], ["given@tea", "decide@tea"]]
    assert after == ["report@tea"]


def test_stages_of_somebodys_own_keep_their_place():
    alone = ["prepare@tea", "evaluate@tea"]
    assert parts_of(alone) == (alone, [], [])
    between = ["evaluate@tea", "explain@tea", "mine@tea", "decide@tea"]
    assert parts_of(between) == (between, [], [])
    last = ["evaluate@tea", "explain@tea", "decide@tea", "mine@tea"]
    assert parts_of(last) == (["evaluate@tea"], [["explain@tea"], ["decide@tea"]], ["mine@tea"])

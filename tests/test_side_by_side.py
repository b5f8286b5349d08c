"""Markets side by side: which stages are whose. That they run is in test_pipeline."""

from shelfcast.pipeline.side_by_side import stages_of


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

"""Intermediate frames of a long study are read again for the same key and code alone."""

from pathlib import Path

import pandas as pd

from studies.resume import resumed


def test_a_saved_frame_is_read_for_the_same_key_and_code_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    calls = []

    def make():
        calls.append(1)
        frame = pd.DataFrame({"mean": [0.5, 2.0]})
        frame.attrs["steps"] = {"base": 3}
        return frame

    first, again = (resumed("saved", ["SOUP", 0.25], make) for _ in range(2))
    assert len(calls) == 1 and again.attrs["steps"] == {"base": 3}
    pd.testing.assert_frame_equal(first, again)
    resumed("saved", ["SOUP", 0.1], make)
    Path("src").mkdir()
    Path("src/changed.py").touch()
    resumed("saved", ["SOUP", 0.1], make)
    assert len(calls) == 3

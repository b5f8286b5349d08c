"""From params.yaml into a notebook: every slip is an error before a cell runs."""

import nbformat
import papermill
import pytest
from papermill.exceptions import PapermillExecutionError

from shelfcast.pipeline import engine as strict


def notebook(path, *cells, parameters="n: int = 1  # how many\nname: str | None = None  # whose"):
    first = nbformat.v4.new_code_cell(parameters)
    first.metadata["tags"] = ["parameters"]
    book = nbformat.v4.new_notebook(cells=[first, *map(nbformat.v4.new_code_cell, cells)])
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(book, path)
    return str(path)


def run(path, out, **parameters):
    return papermill.execute_notebook(path, str(out), parameters, engine_name="strict", kernel_name="python3")


def test_a_good_run(tmp_path, capsys):
    path = notebook(tmp_path / "a.ipynb", "print(n + 1, name)")
    book = run(path, tmp_path / "deep/folder/out.ipynb", n=41, name=None)
    assert book.cells[-1].outputs[0]["text"] == "42 None\n"
    assert (tmp_path / "deep/folder/out.ipynb").exists()
    assert "out.ipynb: done in" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        (dict(n=1, name="x", m=2), ["m = 2", "no parameter 'm'", "Rename or remove"]),
        (dict(n=1, nam="x"), ["nam", "nearest known name is 'name'", "wants 'name: str | None'"]),
        (dict(n="1", name="x"), ["n = '1' is str", "wants int"]),
        (dict(n=True, name="x"), ["n = True is bool", "wants int"]),
        (dict(n=1), ["wants 'name: str | None'. Add it"]),
    ],
)
def test_slips_stop_before_the_first_cell(tmp_path, parameters, words):
    path = notebook(tmp_path / "a.ipynb", f"open(r'{tmp_path}/ran', 'w')")
    with pytest.raises(strict.ParameterError) as error:
        run(path, tmp_path / "out.ipynb", **parameters)
    for word in words:
        assert word in str(error.value)
    assert not (tmp_path / "ran").exists()


def test_a_failing_cell_is_named_and_the_notebook_kept(tmp_path):
    path = notebook(
        tmp_path / "a.ipynb", "x = 1", "raise ValueError('the shop is closed')", f"open(r'{tmp_path}/after', 'w')"
    )
    with pytest.raises(Exception, match="the shop is closed") as error:
        run(path, tmp_path / "out.ipynb", n=1, name="x")
    assert not isinstance(error.value, PapermillExecutionError)
    assert "failed in cell [4]" in str(error.value) and "kept for reading" in str(error.value)
    kept = nbformat.read(tmp_path / "out.ipynb", 4)
    assert any(o.output_type == "error" for c in kept.cells if c.cell_type == "code" for o in c.outputs)
    assert not (tmp_path / "after").exists()


def test_an_output_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    path = notebook(tmp_path / "a.ipynb", f"open(r'{tmp_path}/ran', 'w')")
    with pytest.raises(Exception, match="file") as error:
        run(path, tmp_path / "file/out.ipynb", n=1, name="x")
    assert "ran" not in str(error.value) and not (tmp_path / "ran").exists()


def test_a_report_that_could_not_be_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reports").write_text("a file where the folder should be")
    path = notebook(tmp_path / "a.ipynb", f"open(r'{tmp_path}/ran', 'w')")
    with pytest.raises(strict.ParameterError, match=r"cannot be written.*reports.*Make it writable"):
        run(path, tmp_path / "out.ipynb", n=1, name="x")
    assert not (tmp_path / "ran").exists()


def test_a_full_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(strict, "SPACE", 1e18)
    path = notebook(tmp_path / "a.ipynb", f"open(r'{tmp_path}/ran', 'w')")
    with pytest.raises(strict.ParameterError, match=r"GB are free at .*needed.*Free some space"):
        run(path, tmp_path / "out.ipynb", n=1, name="x")
    assert not (tmp_path / "ran").exists()


def test_parameters_must_be_declared_with_types(tmp_path):
    path = notebook(tmp_path / "a.ipynb", "pass", parameters="n = 1")
    with pytest.raises(strict.ParameterError, match=r"'n = 1' lacks its type"):
        run(path, tmp_path / "out.ipynb", n=1)


@pytest.mark.parametrize(
    ("value", "kind", "fit"),
    [
        (3, float, True), (3.0, int, False), (True, float, False), ([1, 2], list[int], True), ([1, "a"], list[int], False),
        (None, str | None, True), (None, str, False), ({"a": 1}, dict[str, int], True), ({"a": "b"}, dict[str, int], False),
    ],
)  # fmt: skip
def test_fits(value, kind, fit):
    assert strict.fits(value, kind) is fit


def test_sections(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("a: {rate: 1e-3, deep: {x: on}}\nb: 3\n")
    assert strict.section("params.yaml:a") == {"rate": 0.001, "deep": {"x": "on"}}
    assert strict.section("params.yaml:a.deep") == {"x": "on"}
    for path, words in (("params.yaml:aa", "nearest known name is 'a'"), ("params.yaml:b", "must hold")):
        with pytest.raises(strict.ParameterError, match=words):
            strict.section(path)
    (tmp_path / "params.yaml").write_text("a: {rate: ")
    with pytest.raises(strict.ParameterError, match="cannot be read"):
        strict.section("params.yaml:a")

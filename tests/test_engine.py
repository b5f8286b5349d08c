"""The papermill engine: it stops before the first cell where it can, and names the cell that failed."""

import nbformat
import papermill
import pytest
from papermill.exceptions import PapermillExecutionError

from shelfcast.pipeline import engine
from shelfcast.pipeline.notebook import project_root


def notebook(path, *cells, parameters="n: int = 1  # how many\nname: str = ''  # whose"):
    first = nbformat.v4.new_code_cell(parameters)
    first.metadata["tags"] = ["parameters"]
    book = nbformat.v4.new_notebook(cells=[first, *map(nbformat.v4.new_code_cell, cells)])
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(book, path)
    return str(path)


def run(path, out, **parameters):
    return papermill.execute_notebook(path, str(out), parameters, engine_name="shelfcast", kernel_name="python3")


def test_a_good_run(tmp_path, capsys):
    path = notebook(tmp_path / "a.ipynb", "print(n + 1, name)")
    book = run(path, tmp_path / "deep/folder/out.ipynb", n=41, name="x")
    assert book.cells[-1].outputs[0]["text"] == "42 x\n"
    assert (tmp_path / "deep/folder/out.ipynb").exists()
    assert "out.ipynb: done in" in capsys.readouterr().out


def test_an_unknown_parameter_stops_before_the_first_cell(tmp_path):
    path = notebook(tmp_path / "a.ipynb", f"open(r'{tmp_path}/ran', 'w')")
    with pytest.raises(engine.NothingRan, match=r"no parameter 'nam'; the nearest is 'name'. Rename or remove it"):
        run(path, tmp_path / "out.ipynb", nam="x")
    assert not (tmp_path / "ran").exists()


def test_a_failing_cell_is_named_and_the_notebook_written(tmp_path):
    path = notebook(
        tmp_path / "a.ipynb", "x = 1", "raise ValueError('the shop is closed')", f"open(r'{tmp_path}/after', 'w')"
    )
    with pytest.raises(Exception, match="the shop is closed") as error:
        run(path, tmp_path / "out.ipynb", n=1)
    assert not isinstance(error.value, PapermillExecutionError)
    assert "failed in cell [4]" in str(error.value) and "written for reading" in str(error.value)
    book = nbformat.read(tmp_path / "out.ipynb", 4)
    outputs = [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any(output.output_type == "error" for output in outputs)
    assert not (tmp_path / "after").exists()


def test_an_output_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    path = notebook(tmp_path / "a.ipynb", f"open(r'{tmp_path}/ran', 'w')")
    with pytest.raises(Exception, match="file") as error:
        run(path, tmp_path / "file/out.ipynb", n=1)
    assert "ran" not in str(error.value) and not (tmp_path / "ran").exists()


def test_a_report_that_could_not_be_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reports").write_text("a file where the folder should be")
    path = notebook(tmp_path / "a.ipynb", f"open(r'{tmp_path}/ran', 'w')")
    with pytest.raises(engine.NothingRan, match=r"cannot be written.*reports.*Make it writable"):
        run(path, tmp_path / "out.ipynb", n=1)
    assert not (tmp_path / "ran").exists()


def test_a_full_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "FREE_BYTES", 1e18)
    path = notebook(tmp_path / "a.ipynb", f"open(r'{tmp_path}/ran', 'w')")
    with pytest.raises(engine.NothingRan, match=r"GB are free at .*needed.*Free some space"):
        run(path, tmp_path / "out.ipynb", n=1)
    assert not (tmp_path / "ran").exists()


def test_the_project_is_found_from_any_of_its_folders(tmp_path):
    inside = tmp_path / "studies/ablation"
    inside.mkdir(parents=True)
    (inside / "params.yaml").touch()
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "params.yaml").touch()
    assert project_root(inside) == project_root(tmp_path / "notebooks") == tmp_path
    with pytest.raises(FileNotFoundError, match=r"Start inside of the project"):
        project_root(tmp_path.parent / "nowhere")

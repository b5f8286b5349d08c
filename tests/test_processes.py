"""Training on several processes equals training on one, ends when one of them ends, and goes on from a checkpoint.

Real processes on the CPU (gloo), a tiny random BERT, a few steps.
"""

import dataclasses
import os
import signal
import subprocess
import time

import numpy as np
import pandas as pd
import psutil  # comes with accelerate and DVC
import pytest
import torch
from projects import PYTHON
from transformers import TrainerCallback

from shelfcast.model.salesbert import SalesBert
from shelfcast.model.tensors import load_tokenizer, market_tensors
from shelfcast.model_options import Training
from shelfcast.training.phase import Phase
from shelfcast.training.processes.launch import check_processes
from shelfcast.training.processes.share import ROW, Draws, Share, own_part
from shelfcast.training.processes.trainer import SharedTrainer
from shelfcast.training.trainer import check_precision

BATCH = 5  # of 6 products: parts of 3 and 2 in the first step of an epoch, of 1 and none in the second
TRAINING = Training(mode="full", steps=4, judge_steps=1, warmup=1, learning_rate=3e-3, hide_plan=0.5, level_noise=0.1)


@dataclasses.dataclass
class Small:
    """A phase of training on the small retailer, on any number of processes."""

    panel: object
    backbone: str

    def __post_init__(self):
        self.market = market_tensors(self.panel, load_tokenizer(self.backbone))
        self.train, self.validation, self.refit = self.market.splits(self.panel)

    def phase(self, training, dropout=0.0, callbacks=()):
        backbone, sizes = self.backbone, self.market.sizes()

        def make_model(_):
            return SalesBert.from_backbone(backbone, layers=2, width=32, dropout=dropout, **sizes)

        return Phase(
            "select", make_model, self.train, self.validation, training, BATCH, training.steps, callbacks=callbacks
        )


@pytest.fixture(scope="module")
def small(small_panel, tiny_bert):
    return Small(small_panel, tiny_bert)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setattr("shelfcast.training.processes.launch.joblib.cpu_count", lambda: 1)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def on_two(training):
    return dataclasses.replace(training, processes=2)


def difference(a, b):
    """Mean over all weights; the largest one may be of a weight without a gradient, which Adam moves by its sign."""
    b = b.state_dict()
    return float(torch.cat([(x - b[name]).flatten() for name, x in a.state_dict().items()]).abs().mean())


@pytest.mark.parametrize(("n", "n_processes", "sizes"), [(5, 2, [3, 2]), (1, 2, [1, 0]), (7, 3, [3, 2, 2])])
def test_parts_are_the_whole(n, n_processes, sizes):
    parts = [range(n)[own_part(n, rank, n_processes)] for rank in range(n_processes)]
    assert [len(part) for part in parts] == sizes
    assert [i for part in parts for i in part] == list(range(n))


@pytest.mark.parametrize("batch", [[4, 0, 2, 5, 1], [3]])
def test_a_batch_is_shared_whole_and_what_fills_an_empty_part_has_no_label(small, batch):
    items = [item for rank in (0, 1) for item in Share(small.train, rank, 2).__getitems__(batch)]
    learned = [item for item in items if not item["labels"].isnan().all()]
    assert [int(item[ROW]) for item in learned] == list(range(len(batch)))
    for item, product in zip(learned, batch, strict=True):
        for name, x in small.train[product].items():
            torch.testing.assert_close(item[name], x, rtol=0, atol=0, equal_nan=True)
    assert len(items) == max(2, len(batch))


def test_draws_belong_to_products_whoever_trains_on_them():
    def draws(rows, step=3):
        return Draws(torch.tensor(rows), BATCH, 0, step, 1)

    def both(draw, n):
        return torch.cat([draw(law, (n, 2, 4)) for law in (torch.randn, torch.rand)], -1)

    torch.manual_seed(0)
    whole = both(draws([0, 1, 2, 3, 4]), 5)
    torch.manual_seed(1)  # dropout has used it since
    torch.testing.assert_close(torch.cat([both(draws([0, 1, 2]), 3), both(draws([3, 4]), 2)]), whole, rtol=0, atol=0)
    assert not torch.equal(both(draws([0, 1, 2, 3, 4], step=4), 5), whole)
    assert len(whole.unique()) == whole.numel()


def test_one_process_draws_from_the_global_generator():
    torch.manual_seed(0)
    drawn = Draws(None, BATCH, 0, 3, 1)(torch.rand, (2, 3))
    torch.manual_seed(0)
    torch.testing.assert_close(drawn, torch.rand(2, 3), rtol=0, atol=0)


def test_a_batch_without_labels_has_no_loss(small):
    model = small.phase(TRAINING).make_model("select")
    fields = {name: x[:2] for name, x in small.train.tensors.items()}
    loss = model(**fields | {"labels": torch.full_like(fields["labels"], torch.nan)}).loss
    loss.backward()
    assert loss == 0 and model.head[-1].bias.grad.abs().max() == 0


def test_parts_hold_differing_numbers_of_labels(small):
    """The control of the next test: were each part's mean loss averaged, the first loss would be another one."""
    model = small.phase(TRAINING).make_model("select").eval()
    labels = small.train.tensors["labels"].clone()
    labels[3:5, :, ::2] = torch.nan  # as of products launched late
    fields = {name: x[:BATCH] for name, x in (small.train.tensors | {"labels": labels}).items()}
    parts = [{name: x[own_part(BATCH, rank, 2)] for name, x in fields.items()} for rank in (0, 1)]
    losses = torch.stack([model(**part).loss for part in parts])
    n = torch.tensor([(~part["labels"].isnan()).sum() for part in parts])
    whole = model(**fields).loss
    torch.testing.assert_close((losses * n).sum() / n.sum(), whole, rtol=0, atol=1e-5)
    assert abs(losses.mean() - whole) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("bf16", 1e-4)])
def test_two_processes_equal_one(small, tmp_path, monkeypatch, precision, tolerance):
    """Where plans are hidden and gradients added up too: one process draws here as several do, for rows, by step."""
    training = dataclasses.replace(TRAINING, accumulation=2, precision=precision)
    try:
        check_precision(training)
    except ValueError as error:
        pytest.skip(str(error))
    shared, again = small.phase(on_two(training)).run(0, tmp_path / "two")
    other, control = small.phase(training).run(0, tmp_path / "other")
    draws = SharedTrainer.draws

    def by_rows(trainer, inputs):
        inputs[ROW] = torch.arange(len(inputs["level"]))
        return draws(trainer, inputs)

    monkeypatch.setattr(SharedTrainer, "draws", by_rows)
    model, history = small.phase(training).run(0, tmp_path / "one")
    assert len(history) == training.steps
    np.testing.assert_allclose(again["loss"], history["loss"], rtol=0, atol=tolerance)
    np.testing.assert_allclose(again["wql"], history["wql"], rtol=1e-3)  # its quantiles are whole numbers, and jump
    assert difference(shared, model) < 0.1 * difference(other, model)
    assert np.abs(control["loss"] - history["loss"]).max() > 1e-3, "other draws"
    assert not (tmp_path / "two/select_processes").exists()


class Fail(TrainerCallback):
    """The second process fails before the end of a step."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if (args.process_index, state.global_step) == (1, self.step):
            raise ValueError(f"step {self.step} failed")


@pytest.mark.slow
def test_an_error_of_one_process_is_raised_and_the_same_call_continues(small, tmp_path):
    training = dataclasses.replace(on_two(TRAINING), steps=6)
    whole, history = small.phase(training, dropout=0.1).run(0, tmp_path / "whole")
    with pytest.raises(ValueError, match="step 5 failed"):
        small.phase(training, dropout=0.1, callbacks=(Fail(5),)).run(0, tmp_path / "failed")
    assert (tmp_path / "failed/select/checkpoint-4/complete").exists()
    model, again = small.phase(training, dropout=0.1).run(0, tmp_path / "failed")
    assert difference(model, whole) == 0
    pd.testing.assert_frame_equal(again, history, check_exact=True)


# A job without a model, whose processes wait for each other for ever.
WAITING = """
import dataclasses, os, pathlib, sys, time
import torch
from shelfcast.model_options import Training
from shelfcast.training.processes.launch import on_processes

@dataclasses.dataclass
class Waiting:
    training: Training
    name: str = "select"
    batch: int = 2
    train: None = None
    validation: None = None

    def run_here(self, seed, folder, checkpoint):
        torch.distributed.init_process_group("gloo")
        rank = torch.distributed.get_rank()
        (folder / f"pid_{rank}").write_text(str(os.getpid()))
        torch.distributed.barrier()
        if rank == 1:
            time.sleep(1000)
        torch.distributed.barrier()

try:
    on_processes(Waiting(Training(processes=2)), 0, pathlib.Path(sys.argv[1]), None)
except RuntimeError as error:
    print(error)
"""


def is_running(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture()
def waiting(tmp_path):
    """A training on two processes, and their process ids."""
    command = [PYTHON, "-c", WAITING, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        files = [tmp_path / f"pid_{rank}" for rank in (0, 1)]
        wait_until(lambda: all(path.exists() and path.read_text() for path in files))
        yield parent, [int(path.read_text()) for path in files]
        parent.kill()


def wait_until(holds, seconds=120):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


@pytest.mark.slow
def test_a_killed_process_ends_all_and_is_named(waiting):
    parent, pids = waiting
    os.kill(pids[1], signal.SIGKILL)
    said, _ = parent.communicate(timeout=120)
    assert "training ended: process 1 of 2 (counted from 0) was ended by SIGKILL, as the system does" in said
    assert not any(is_running(pid) for pid in pids)


@pytest.mark.slow
@pytest.mark.parametrize("who", ["notebook", "agent"])
def test_no_process_is_left_behind(waiting, who):
    parent, pids = waiting
    (agent,) = psutil.Process(parent.pid).children()
    (agent if who == "agent" else parent).kill()
    wait_until(lambda: not any(is_running(pid) for pid in [*pids, agent.pid]))
    if who == "agent":
        assert "the processes stopped with exit status -9" in parent.communicate(timeout=60)[0]


def test_more_processes_than_products_or_gpus(monkeypatch):
    check_processes(5, 5)
    with pytest.raises(ValueError, match="is 6, and a step has 5 products"):
        check_processes(6, 5)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(ValueError, match="this machine has 1 GPU"):
        check_processes(2, 5)

"""Training on several processes equals training on one, ends when one of them ends, and goes on from a checkpoint.

Real processes on the CPU (gloo), a tiny random BERT, a few steps.
"""

import dataclasses
import os
import signal

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import TrainerCallback

from shelfcast.model.salesbert import SalesBert
from shelfcast.model.tensors import load_tokenizer, market_tensors
from shelfcast.model_options import Training
from shelfcast.training.phase import Phase
from shelfcast.training.processes.launch import check_processes
from shelfcast.training.processes.share import ROW, Draws, Share, own_part
from shelfcast.training.processes.trainer import SharedTrainer

BATCH = 5  # of 6 products: parts of 3 and 2 in the first step of an epoch, of 1 and none in the second
PLAIN = Training(mode="full", steps=4, judge_steps=1, warmup=1, learning_rate=3e-3, patience=4, hide_plan=0.0)
CHANCE = dataclasses.replace(PLAIN, hide_plan=0.5, level_noise=0.1)


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
    """The largest of any weight."""
    b = b.state_dict()
    return max(float((x - b[name]).abs().max()) for name, x in a.state_dict().items())


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
    model = small.phase(PLAIN).make_model("select")
    fields = {name: x[:2] for name, x in small.train.tensors.items()}
    loss = model(**fields | {"labels": torch.full_like(fields["labels"], torch.nan)}).loss
    loss.backward()
    assert loss == 0 and model.head[-1].bias.grad.abs().max() == 0


def test_parts_hold_differing_numbers_of_labels(small):
    """The control of the next test: were each part's mean loss averaged, the first loss would be another one."""
    model = small.phase(PLAIN).make_model("select").eval()
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
def test_two_processes_equal_one(small, tmp_path):
    model, history = small.phase(PLAIN).run(0, tmp_path / "one")
    shared, again = small.phase(on_two(PLAIN)).run(0, tmp_path / "two")
    assert len(history) == PLAIN.steps // 2
    np.testing.assert_allclose(again["loss"], history["loss"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(again["wql"], history["wql"], rtol=1e-3)  # its quantiles are whole numbers, and jump
    start = small.phase(PLAIN).make_model("select")
    assert difference(shared, model) < 0.02 * difference(start, model)
    assert not (tmp_path / "two/select_processes").exists()


@pytest.mark.slow
def test_two_processes_hide_the_plan_and_add_up_gradients_as_one(small, tmp_path, monkeypatch):
    """One process that draws as several do: for rows, by step."""
    training = dataclasses.replace(CHANCE, accumulation=2)
    _shared, again = small.phase(on_two(training)).run(0, tmp_path / "two")
    draws = SharedTrainer.draws

    def by_rows(trainer, inputs):
        return draws(trainer, inputs.update({ROW: torch.arange(len(inputs["level"]))}) or inputs)

    model, history = small.phase(training).run(0, tmp_path / "other")
    with monkeypatch.context() as patch:
        patch.setattr(SharedTrainer, "draws", by_rows)
        _model, history = small.phase(training).run(0, tmp_path / "one")
    np.testing.assert_allclose(again["loss"], history["loss"], rtol=0, atol=1e-5)


class Die(TrainerCallback):
    """One of the processes ends before a step's end, by a signal or by an exception."""

    def __init__(self, rank, step, error=None):
        self.rank, self.step, self.error = rank, step, error

    def on_step_end(self, args, state, control, **kwargs):
        if (args.process_index, state.global_step) == (self.rank, self.step):
            if self.error:
                raise self.error
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_killed_process_ends_all_and_the_same_call_continues(small, tmp_path):
    training = dataclasses.replace(on_two(CHANCE), steps=6)
    whole, history = small.phase(training, dropout=0.1).run(0, tmp_path / "whole")
    with pytest.raises(RuntimeError, match=r"process 1 of 2 \(counted from 0\) was ended by SIGKILL"):
        small.phase(training, dropout=0.1, callbacks=(Die(1, 5),)).run(0, tmp_path / "killed")
    assert (tmp_path / "killed/select/checkpoint-4/complete").exists()
    model, again = small.phase(training, dropout=0.1).run(0, tmp_path / "killed")
    assert difference(model, whole) == 0
    pd.testing.assert_frame_equal(again, history, check_exact=True)


@pytest.mark.slow
def test_an_error_of_one_process_is_raised(small, tmp_path):
    with pytest.raises(ValueError, match="step 1 failed"):
        small.phase(on_two(PLAIN), callbacks=(Die(1, 1, ValueError("step 1 failed")),)).run(0, tmp_path)


def test_more_processes_than_products_or_gpus(monkeypatch):
    check_processes(5, 5)
    with pytest.raises(ValueError, match="is 6, and a step has 5 products"):
        check_processes(6, 5)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(ValueError, match="this machine has 1 GPU"):
        check_processes(2, 5)

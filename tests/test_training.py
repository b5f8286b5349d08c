"""Training: resume, seeds, modes, and that no test week reaches it. A tiny random BERT, a few steps."""

import dataclasses
import pickle
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from small_retailer import changed_after
from transformers import Trainer, TrainerCallback

from shelfcast.judge import metrics
from shelfcast.judge.distribution import count_wql
from shelfcast.model.adapters import merged
from shelfcast.model.forecast import forecast, predict
from shelfcast.model.salesbert import SalesBert
from shelfcast.model.tensors import load_tokenizer, market_tensors
from shelfcast.model_options import Training
from shelfcast.training.fit import Fitted, finish, fit, still_falling
from shelfcast.training.trainer import check_precision, label_weeks, validation_wql

TRAINING = Training(mode="full", steps=8, judge_steps=2, warmup=1, batch_weeks=100, learning_rate=3e-3, patience=4)


@dataclasses.dataclass
class Setup:
    """What notebook 3_finetune makes of a panel, small."""

    panel: object
    backbone: str

    def __post_init__(self):
        panel = self.panel
        self.market = market_tensors(panel, load_tokenizer(self.backbone))
        self.train_end, self.validation_end = (pd.Timestamp(panel.meta[k]) for k in ("train_end", "validation_end"))
        self.train, self.validation, self.refit = self.market.splits(panel)

    def make_model(self, **config):
        return SalesBert.from_backbone(self.backbone, layers=2, width=32, **config, **self.market.sizes())

    def fit(self, work, training=TRAINING, seed=0, callbacks=(), fingerprint="x", **config):
        models, history = self.fit_all(work, training, [seed], callbacks, fingerprint, **config)
        return models[0], history

    def fit_all(self, work, training=TRAINING, seeds=(0, 1), callbacks=(), fingerprint="x", **config):
        fitted = fit(
            lambda _: self.make_model(**config),
            *(self.train, self.validation, self.refit, training, list(seeds), work, fingerprint, callbacks),
        )
        self.selected = fitted.selected
        return fitted.models, fitted.history


@pytest.fixture(scope="module")
def setup(small_panel, tiny_bert):
    return Setup(small_panel, tiny_bert)


@pytest.fixture(scope="module")
def trained(setup, tmp_path_factory):
    return setup.fit(tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="module")
def side_by_side(setup, tmp_path_factory):
    """Two seeds, each in a process of its own: what `fit` returns, and its work folder."""
    work = tmp_path_factory.mktemp("side_by_side")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shelfcast.training.parallel.cpu_count", lambda: 2)
        models, history = setup.fit_all(work)
    return Fitted(models, setup.selected, history), work


def equal_weights(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_it_learns(trained, setup):
    model, history = trained
    select = history[history["phase"] == "select"]
    assert select["loss"].iloc[-1] < select["loss"].iloc[0]
    untrained = forecast([setup.make_model().eval()], setup.market, setup.panel.cutoffs["test"]).assign(method="m")
    ours = forecast([model], setup.market, setup.panel.cutoffs["test"]).assign(method="m")
    score = [metrics.scores(f, setup.panel.frame)["wql"].item() for f in (ours, untrained)]
    assert score[0] < score[1]


def test_the_selected_models_are_those_of_the_chosen_step(side_by_side, setup):
    fitted, _ = side_by_side
    scores = fitted.history[fitted.history["best"]].set_index("seed")["wql"]
    y = setup.validation.tensors["labels"].numpy()
    given = ~np.isnan(y)
    for seed, model in enumerate(fitted.selected):
        mean, dispersion = predict(model, setup.validation)
        assert count_wql(y[given], mean[given], dispersion[given]) == pytest.approx(scores[seed], rel=1e-6)


def test_same_seed_same_weights_other_seed_others(trained, setup, tmp_path):
    again, history = setup.fit(tmp_path / "a")
    assert equal_weights(again, trained[0])
    pd.testing.assert_frame_equal(history, trained[1], check_exact=True)
    assert not equal_weights(setup.fit(tmp_path / "b", seed=1)[0], trained[0])


class KillAt(TrainerCallback):
    """A power cut: the process dies between two judgements of the given phase."""

    def __init__(self, phase: str, step: int):
        self.phase, self.step = phase, step

    def on_step_end(self, args, state, control, **kwargs):
        if args.output_dir.endswith(self.phase) and state.global_step == self.step:
            raise KeyboardInterrupt


@pytest.mark.parametrize(("phase", "step"), [("select", 1), ("select", 5), ("refit", 3)])
def test_killed_and_resumed_equals_uninterrupted(trained, setup, tmp_path, phase, step):
    with pytest.raises(KeyboardInterrupt):
        setup.fit(tmp_path, callbacks=[KillAt(phase, step)])
    model, history = setup.fit(tmp_path)
    assert equal_weights(model, trained[0])
    pd.testing.assert_frame_equal(history, trained[1], check_exact=True)


@pytest.mark.parametrize("checkpoint", ["select/checkpoint-4", "refit/checkpoint-2"])
def test_killed_while_a_checkpoint_is_written(trained, setup, tmp_path, monkeypatch, checkpoint):
    """An unfinished checkpoint is ignored: training continues from the one before."""
    save = Trainer._save_optimizer_and_scheduler

    def power_cut(self, output_dir):
        if output_dir.endswith(checkpoint):
            raise KeyboardInterrupt
        save(self, output_dir)

    with monkeypatch.context() as cut, pytest.raises(KeyboardInterrupt):
        cut.setattr(Trainer, "_save_optimizer_and_scheduler", power_cut)
        setup.fit(tmp_path)
    assert list(tmp_path.glob(f"*/{checkpoint}/model.safetensors"))
    model, history = setup.fit(tmp_path)
    assert equal_weights(model, trained[0])
    pd.testing.assert_frame_equal(history, trained[1], check_exact=True)


def test_checkpoints_of_other_data_are_not_used(trained, setup, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        setup.fit(tmp_path, seed=1, callbacks=[KillAt("select", 5)], fingerprint="other")
    assert equal_weights(setup.fit(tmp_path)[0], trained[0])


def test_finish_leaves_the_logs(side_by_side, tmp_path):
    work = shutil.copytree(side_by_side[1], tmp_path / "work")
    temporary = ("**/checkpoint-*", "**/judged_*.safetensors")
    assert all(list(work.glob(names)) for names in temporary)
    finish(work)
    assert not any(list(work.glob(names)) for names in temporary)
    assert list(work.glob("**/events.out.tfevents*"))


def test_seeds_choose_the_step_together(side_by_side, setup):
    fitted, _ = side_by_side
    models, history = fitted.models, fitted.history
    select = history[history["phase"] == "select"]
    mean = select.pivot(index="step", columns="seed", values="wql").dropna().mean(axis=1)
    assert select.loc[select["best"], "step"].tolist() == [mean.idxmin()] * 2
    more = len(label_weeks(setup.refit.tensors["labels"])) / len(label_weeks(setup.train.tensors["labels"]))
    judged = round(mean.idxmin() * more) // TRAINING.judge_steps
    assert history[history["phase"] == "refit"].groupby("seed").size().tolist() == [judged] * 2
    assert not equal_weights(*models)


def test_a_seed_named_twice_is_an_error(setup, tmp_path):
    with pytest.raises(ValueError, match=r"seeds are \[1, 1\]"):
        setup.fit_all(tmp_path, seeds=(1, 1))


def test_seeds_side_by_side_equal_seeds_one_after_the_other(side_by_side, setup, tmp_path, monkeypatch):
    monkeypatch.setattr("shelfcast.training.parallel.cpu_count", lambda: 1)
    models, history = setup.fit_all(tmp_path)
    fitted, _ = side_by_side
    assert all(equal_weights(a, b) for a, b in zip(models, fitted.models, strict=True))
    pd.testing.assert_frame_equal(history, fitted.history, check_exact=True)


class Fail(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        raise ValueError("step 1 failed")


@pytest.mark.parametrize("cores", [1, 2])
def test_an_error_in_another_process_is_raised(setup, tmp_path, monkeypatch, cores):
    monkeypatch.setattr("shelfcast.training.parallel.cpu_count", lambda: cores)
    before = torch.get_num_threads()
    with pytest.raises(ValueError, match="step 1 failed"):
        setup.fit_all(tmp_path, callbacks=[Fail()])
    assert torch.get_num_threads() == before


def test_early_stopping_and_refit_length(setup, tmp_path):
    """A learning rate that only harms after the start: the first steps win, the refit goes as far, and its weeks more."""
    training = dataclasses.replace(TRAINING, steps=24, patience=2, learning_rate=0.3)
    _, history = setup.fit(tmp_path, training)
    select, refit = (history[history["phase"] == phase] for phase in ("select", "refit"))
    best = select.loc[select["best"], "step"].item()
    assert select["wql"].idxmin() == select.index[select["best"]][0]
    assert select["step"].max() == best + 2 * training.judge_steps < training.steps
    more = len(label_weeks(setup.refit.tensors["labels"])) / len(label_weeks(setup.train.tensors["labels"]))
    assert refit["step"].max() == round(best * more) // training.judge_steps * training.judge_steps
    assert not still_falling(history, training)


def test_a_curve_that_still_falls_is_seen(setup, tmp_path):
    training = dataclasses.replace(TRAINING, steps=4, learning_rate=1e-3)
    _, history = setup.fit(tmp_path, training)
    assert history.loc[history["best"], "step"].item() == 4 and still_falling(history, training)


def test_a_kill_does_not_lengthen_its_patience(setup, tmp_path):
    training = dataclasses.replace(TRAINING, steps=24, patience=2, learning_rate=0.3)
    whole, history = setup.fit(tmp_path / "whole", training)
    select = history[history["phase"] == "select"]
    late = KillAt("select", int(select["step"].iloc[-2]) + 1)
    with pytest.raises(KeyboardInterrupt):
        setup.fit(tmp_path / "killed", training, callbacks=[late])
    model, again = setup.fit(tmp_path / "killed", training)
    pd.testing.assert_frame_equal(again, history, check_exact=True)
    assert equal_weights(model, whole)


@pytest.mark.parametrize("mode", ["lora", "frozen"])
def test_modes(setup, tmp_path, mode):
    training = dataclasses.replace(TRAINING, steps=6, mode=mode)  # the head starts at zero: step one moves it alone
    model, _ = setup.fit(tmp_path / "w", training, body="backbone")
    model, start = merged(model), setup.make_model(body="backbone")
    assert set(model.state_dict()) == set(start.state_dict())  # adapters are folded in: a plain SalesBert
    loaded = save_and_load(model, tmp_path)
    np.testing.assert_array_equal(predict(loaded, setup.market)[0], predict(model, setup.market)[0])
    pretrained = start.state_dict()
    changed = {
        n for n in pretrained if n.startswith("layers.") and not torch.equal(pretrained[n], model.state_dict()[n])
    }
    if mode == "frozen":
        assert not changed
    else:
        assert changed and all(
            n.endswith(("query.weight", "value.weight", "intermediate.dense.weight")) for n in changed
        )


def save_and_load(model, folder):
    model.save_pretrained(folder / "m")
    return SalesBert.from_pretrained(folder / "m").eval()


def test_full_mode_trains_the_backbone(trained, setup):
    pretrained = SalesBert.from_backbone(setup.backbone, layers=2).state_dict()["layers.0.intermediate.dense.weight"]
    assert not torch.equal(pretrained, trained[0].state_dict()["layers.0.intermediate.dense.weight"])


def test_validation_score_is_the_evaluations(trained, setup):
    mean, dispersion = predict(trained[0], setup.validation)
    labels = setup.validation.tensors["labels"].numpy()
    outputs = type("Outputs", (), {"predictions": (mean, dispersion), "label_ids": labels})
    frame = forecast([trained[0]], setup.market, setup.panel.cutoffs["validation"]).assign(method="m")
    chain = frame["unique_id"].str.endswith("|chain")  # regions are made coherent afterwards
    only = np.full_like(labels, np.nan)
    only[:, 0] = labels[:, 0]
    outputs.label_ids = only
    theirs = metrics.scores(frame[chain], setup.panel.frame)["wql"].item()
    assert validation_wql(outputs)["wql"] == pytest.approx(theirs, rel=1e-6)


def test_other_levels_describe_the_same_sales(setup):
    """Columns in units, times the level that they are relative to, stay; so does everything else."""
    market = setup.market
    level, columns = market.tensors["level"], {name: i for i, name in enumerate(market.names["weeks"])}

    def units(batch, name):
        mean, deviation = market.scale[name]
        return torch.exp(batch["weeks"][..., columns[name]] * deviation + mean) * (batch["level"] + 0.1) - 0.1

    times = torch.exp(0.5 * torch.randn(level.shape, generator=torch.Generator().manual_seed(0)))
    other = market.with_levels(market.tensors, times)
    torch.testing.assert_close(other["level"], level * times)
    change = (other["weeks"] - market.tensors["weeks"])[..., columns["level"]]
    torch.testing.assert_close(change, times.log() / market.scale["level"][1])
    for name in ("level_13", "lag_0", "mean_promoted", "buyers"):
        torch.testing.assert_close(units(other, name), units(market.tensors, name), rtol=1e-4, atol=1e-4)
        assert not torch.allclose(other["weeks"][..., columns[name]], market.tensors["weeks"][..., columns[name]])
    same = [i for name, i in columns.items() if name not in market.in_units]
    torch.testing.assert_close(other["weeks"][..., same], market.tensors["weeks"][..., same])
    assert all(other[k] is v for k, v in market.tensors.items() if k not in ("level", "weeks", "plan"))


def test_the_outlook_follows_a_varied_level(setup):
    """It is the log of units over the level, so that with half the level it stands log 2 higher; nothing else moves."""
    panel, product = setup.panel, setup.panel.products.index[0]
    cutoff = panel.cutoffs["train"][-1]
    outlook = pd.DataFrame({"product_id": product, "cutoff": cutoff, "horizon": [1, 2], "units": [40.0, 90.0]})
    market = market_tensors(dataclasses.replace(panel, outlook=outlook), load_tokenizer(setup.backbone))
    column, week = market.names["plan"].index("outlook"), market.weeks_index.get_loc(cutoff)
    mean, deviation = market.scale["outlook"]
    level = market.tensors["level"]
    raw = market.tensors["plan"][0, :, week, :2, column] * deviation + mean
    expected = torch.log((torch.tensor([40.0, 90.0]) + 0.1) / (level[0, 0, week] + 0.1))
    torch.testing.assert_close(raw, expected.expand(len(raw), 2), rtol=1e-3, atol=1e-3)
    others = market.tensors["plan"][1:, ..., column]
    assert (others == 0).all(), "no forecast: the mean"
    halved = market.with_levels(market.tensors, torch.full_like(level, 0.5))
    change = (halved["plan"] - market.tensors["plan"])[0, 0, week] * deviation
    ratio = torch.log((level[0, 0, week] + 0.1) / (0.5 * level[0, 0, week] + 0.1))
    torch.testing.assert_close(change[:, column], ratio.expand(len(change)), rtol=1e-3, atol=1e-3)
    assert (change[:, [i for i in range(change.shape[1]) if i != column]] == 0).all()
    assert (market.as_new().tensors["plan"][..., column] == 0).all()


@pytest.mark.parametrize("noise", [0.5, 0.0])
def test_levels_vary_in_training_and_nowhere_else(setup, tmp_path, monkeypatch, noise):
    calls, head = [], SalesBert._head

    def recorded(model, *given):
        calls.append((model.training, given[-1]))
        return head(model, *given)

    monkeypatch.setattr(SalesBert, "_head", recorded)
    setup.fit(tmp_path, dataclasses.replace(TRAINING, steps=2, batch_weeks=10_000, level_noise=noise))
    judged = label_weeks(setup.validation.tensors["labels"])
    for training, given in calls:
        level = setup.market.tensors["level"]
        level = level[:, :, : given.shape[-1]] if training else level[:, :, judged]
        unchanged = torch.equal(given.flatten().sort()[0], level.flatten().sort()[0])  # products come in any order
        assert unchanged == (not training or noise == 0)
    assert {training for training, _ in calls} == {True, False}


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_plan_is_hidden_in_training_and_nowhere_else(setup, tmp_path, monkeypatch, share):
    """`promotion_known` is below its known value where a product's forecast from a week does not know the plan."""
    hidden, head, column = {True: [], False: []}, SalesBert._head, setup.market.names["plan"].index("promotion_known")

    def recorded(model, *given):
        plan = given[-2]
        hidden[model.training].append(plan[:, 0, :, 0, column] < 0)
        return head(model, *given)

    monkeypatch.setattr(SalesBert, "_head", recorded)
    setup.fit(tmp_path, dataclasses.replace(TRAINING, steps=2, hide_plan=share))
    measured = {
        training: float(torch.cat([x.flatten() for x in parts]).float().mean()) for training, parts in hidden.items()
    }
    assert measured[True] == pytest.approx(share, abs=0.1) and measured[False] == 0


@pytest.fixture()
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("pretrained", [True, False])
def test_texts_are_read_once_for_seeds_of_one_encoder(setup, tmp_path, monkeypatch, one_thread, pretrained):
    """As many times as there are encoders to read by, and with the weights that reading in each phase leads to."""
    monkeypatch.setattr("shelfcast.training.parallel.cpu_count", lambda: 1)
    training, calls, read = dataclasses.replace(TRAINING, mode="frozen", steps=4), [], SalesBert.read_text

    def counted(model, *given):
        calls.append(model)
        return read(model, *given)

    monkeypatch.setattr(SalesBert, "read_text", counted)
    models, _ = setup.fit_all(tmp_path / "once", training, body="compact", pretrained=pretrained)
    assert len(calls) == (1 if pretrained else 4)  # two seeds, two phases
    monkeypatch.setattr("shelfcast.training.fit.read_text_once", lambda models, market: market)
    others, _ = setup.fit_all(tmp_path / "each", training, body="compact", pretrained=pretrained)
    assert all(equal_weights(a, b) for a, b in zip(models, others, strict=True))


def test_a_market_sent_to_another_process_stays_the_same(setup):
    again = pickle.loads(pickle.dumps(setup.train))
    assert again.products == setup.train.products and again.weeks_index.equals(setup.train.weeks_index)
    for name, tensor in setup.train.tensors.items():
        torch.testing.assert_close(again.tensors[name], tensor, rtol=0, atol=0, equal_nan=True)


def test_unusable_precision(monkeypatch):
    monkeypatch.setattr("shelfcast.training.trainer.is_torch_bf16_gpu_available", lambda: False)
    monkeypatch.setattr("torch.cpu.get_capabilities", dict)
    check_precision(TRAINING)
    with pytest.raises(ValueError, match="neither accelerator nor CPU"):
        check_precision(dataclasses.replace(TRAINING, precision="bf16"))


def test_checkpoints_hold_no_frozen_weight(setup, tmp_path):
    frozen = dataclasses.replace(TRAINING, mode="frozen", steps=2)
    setup.fit(tmp_path, frozen, body="compact")
    paths = list(tmp_path.glob("**/checkpoint-*/model.safetensors"))
    names = {name for path in paths for name in load_file(path)}
    assert names and not any(name.startswith(("layers.", "embeddings.")) for name in names)


def test_leak_labels_end_with_their_split(setup):
    weeks, horizon = setup.market.weeks_index, setup.market.tensors["labels"].shape[-1]
    for part, end in (
        (setup.train, setup.train_end),
        (setup.validation, setup.validation_end),
        (setup.refit, setup.validation_end),
    ):
        labels = part.tensors["labels"]
        ends = weeks.to_numpy()[: labels.shape[2], None] + np.arange(1, horizon + 1).astype("timedelta64[W]")
        late = torch.as_tensor(ends > np.datetime64(end))
        assert labels[:, :, late].isnan().all() and (late.any() or part is setup.validation)
        assert (~labels[:, :, ~late].isnan()).any()


@pytest.mark.parametrize("history", [0.5, 0.01])
def test_a_short_history_is_the_latest_cutoffs(setup, history):
    def labelled_weeks(part):
        return part.weeks_index[label_weeks(part.tensors["labels"]).numpy()]

    train, validation, refit = setup.market.splits(setup.panel, history)
    for short, whole in ((train, setup.train), (refit, setup.refit)):
        weeks = labelled_weeks(whole)
        latest = weeks[-max(1, round(history * len(weeks))) :]
        assert list(labelled_weeks(short)) == list(latest) and short.weeks_index.equals(whole.weeks_index)
    torch.testing.assert_close(validation.tensors["labels"], setup.validation.tensors["labels"], equal_nan=True)


def test_leak_test_weeks_reach_neither_scaling_nor_training(trained, setup, tmp_path):
    other = Setup(changed_after(setup.panel, setup.validation_end), setup.backbone)
    assert other.market.scale == setup.market.scale
    model, history = other.fit(tmp_path)
    assert equal_weights(model, trained[0])
    pd.testing.assert_frame_equal(history, trained[1], check_exact=True)


def test_leak_validation_weeks_choose_but_the_first_phase_does_not_learn_from_them(trained, setup, tmp_path):
    other = Setup(changed_after(setup.panel, setup.train_end), setup.backbone)
    assert other.market.scale == setup.market.scale
    _, history = other.fit(tmp_path)
    ours = trained[1]
    first = [h.loc[h["phase"] == "select", "loss"].iloc[:1].tolist() for h in (history, ours)]
    assert first[0] == first[1]
    assert history["wql"].dropna().tolist() != ours["wql"].dropna().tolist()


def test_leak_forecasts_see_nothing_after_their_cutoff(trained, setup):
    """Everything after a cutoff but the declared plan is changed; no forecast from that cutoff may move."""
    for cutoff in setup.panel.cutoffs["test"]:
        other = market_tensors(changed_after(setup.panel, cutoff), load_tokenizer(setup.backbone))
        columns = ["unique_id", "mean", "dispersion", "q500"]
        ours, theirs = (forecast([trained[0]], m, [cutoff])[columns] for m in (setup.market, other))
        pd.testing.assert_frame_equal(ours, theirs)

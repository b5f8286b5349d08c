"""Parts of a step that equal a whole one, adapters apart from what they adapt, int8 and bf16."""

import dataclasses
import shutil

import numpy as np
import pytest
import torch
from test_training import TRAINING, Setup
from transformers import AutoModel, TrainerCallback

from shelfcast.model import adapters
from shelfcast.model.forecast import load_models, predict
from shelfcast.training.trainer import _cpu_has_bf16

LORA = dataclasses.replace(TRAINING, steps=6, mode="lora", learning_rate=2e-2)


@pytest.fixture(scope="module")
def setup(small_panel, tiny_bert):
    return Setup(small_panel, tiny_bert)


@pytest.fixture(scope="module")
def adapted(setup, tmp_path_factory):
    return setup.fit(tmp_path_factory.mktemp("lora"), LORA, body="backbone")[0]


class Gradients(TrainerCallback):
    def __init__(self):
        self.steps = []

    def on_pre_optimizer_step(self, args, state, control, model, **kwargs):
        self.steps.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})


def test_parts_of_a_step_add_up_to_it(setup, tmp_path):
    """Products of very different numbers of labels: the mean of the parts' means would be another step."""
    labels = setup.train.tensors["labels"].clone()
    labels[::2, :, 5:] = torch.nan
    setup = dataclasses.replace(setup)
    setup.train = dataclasses.replace(setup.train, tensors=setup.train.tensors | {"labels": labels})
    results = {}
    for parts in (1, 4):
        batch = 4 * len(setup.train.weeks_index) // parts
        training = dataclasses.replace(
            TRAINING, steps=2, batch_weeks=batch, accumulation=parts, level_noise=0.0, hide_plan=0.0, mode="frozen"
        )
        watch = Gradients()
        model, history = setup.fit(tmp_path / str(parts), training, callbacks=[watch], body="compact", dropout=0.0)
        results[parts] = watch.steps, history["loss"].iloc[0], predict(model, setup.market)[0]
    (whole, loss, mean), (parts, same_loss, same_mean) = results[1], results[4]
    assert len(whole) == len(parts) > 2  # two steps of the first phase, the last of which is not full, and the refit's
    for name, gradient in whole[0].items():
        torch.testing.assert_close(parts[0][name], gradient, rtol=1e-5, atol=1e-6)
    assert same_loss == pytest.approx(loss, rel=1e-5)
    np.testing.assert_allclose(same_mean, mean, rtol=1e-4)  # Adam divides small gradients by small ones


def test_adapters_alone_are_small_and_merge_exactly(adapted, setup, tmp_path):
    apart = predict(adapted, setup.market)[0]
    adapters.save(adapted, tmp_path / "seed_0", setup.backbone)
    size = sum(path.stat().st_size for path in (tmp_path / "seed_0").iterdir())
    loaded = load_models(tmp_path)[0]
    whole = adapters.merged(adapted)  # in place: the last use of the fixture's own adapters
    whole.save_pretrained(tmp_path / "whole")
    assert not any(
        name.startswith(adapters.ENCODER)
        for name in adapters.load_file(tmp_path / "seed_0" / adapters.WEIGHTS)
        if "lora_" not in name
    )
    assert size < sum(path.stat().st_size for path in (tmp_path / "whole").iterdir())
    assert loaded.state_dict().keys() == whole.state_dict().keys()
    for name, weight in whole.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weight), name
    together = predict(loaded, setup.market)[0]
    np.testing.assert_allclose(together, apart, rtol=1e-4)
    start = predict(setup.make_model(body="backbone").eval(), setup.market)[0]
    assert np.abs(np.log(together / start)).max() > 0.01


def test_adapters_of_another_backbone_are_refused(setup, tmp_path):
    backbone = tmp_path / "bert"
    shutil.copytree(setup.backbone, backbone)
    setup = Setup(setup.panel, str(backbone))
    model, _ = setup.fit(tmp_path / "work", dataclasses.replace(LORA, steps=2), body="backbone")
    adapters.save(model, tmp_path / "m", str(backbone))
    other = AutoModel.from_pretrained(backbone)
    with torch.no_grad():
        other.encoder.layer[0].intermediate.dense.weight += 1
    other.save_pretrained(backbone)
    with pytest.raises(ValueError, match=r"adapts another backbone than .*Restore it"):
        adapters.load(tmp_path / "m")


def test_a_model_whose_encoder_is_not_the_backbones_is_written_whole(setup, tmp_path):
    training = dataclasses.replace(LORA, steps=2)
    model = adapters.adapt(setup.make_model(body="backbone", pretrained=False), training)
    adapters.save(model, tmp_path / "random", setup.backbone)
    plain = setup.make_model()
    adapters.save(plain, tmp_path / "plain", setup.backbone)
    for name in ("random", "plain"):
        assert not (tmp_path / name / adapters.FACTS).exists()
    assert torch.equal(adapters.load(tmp_path / "plain").week_in.weight, plain.week_in.weight)
    weight = model.state_dict()["layers.0.intermediate.dense.weight"]
    assert torch.equal(adapters.load(tmp_path / "random").layers[0].intermediate.dense.weight, weight)


@pytest.mark.parametrize("body", ["backbone", "compact"])
def test_int8_forecasts_nearly_the_same(setup, tmp_path, body):
    model = setup.make_model(body=body).eval()
    with torch.no_grad():
        model.head[-1].weight.normal_(std=0.1)
    adapters.save(model, tmp_path / "seed_0", setup.backbone)
    own, light = predict(model, setup.market)[0], predict(load_models(tmp_path, int8=True)[0], setup.market)[0]
    off = np.abs(np.log(light / own))
    assert off.max() > 0 and off.mean() < 0.02


@pytest.mark.skipif(not _cpu_has_bf16(), reason="this CPU multiplies no bf16 matrices")
def test_bf16_learns_about_the_same(setup, tmp_path):
    scores = []
    for precision in ("fp32", "bf16"):
        training = dataclasses.replace(TRAINING, precision=precision)
        model, history = setup.fit(tmp_path / precision, training, body="backbone")
        assert all(p.dtype == torch.float32 for p in model.parameters())
        scores.append(history["wql"].min())
        adapters.save(model, tmp_path / f"{precision}_model", setup.backbone)
        again = adapters.load(tmp_path / f"{precision}_model")
        np.testing.assert_array_equal(predict(model, setup.market)[0], predict(again, setup.market)[0])
    assert scores[0] != scores[1] and scores[1] == pytest.approx(scores[0], rel=0.05)

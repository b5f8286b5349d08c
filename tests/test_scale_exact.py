"""What makes partitions exact: shortcuts of inference give what the long way gives, and series stand alone."""

import numpy as np
import pandas as pd
import pytest
import torch
from fracast import FracastModel

from shelfcast.judge.coherence import coherent, coherent_means
from shelfcast.judge.frame import forecast_frame, grid_keys
from shelfcast.methods.zero_shot import with_outlook, with_outlook_at
from shelfcast.methods.zero_shot.short_context import ShortContext
from shelfcast.model.layers.attention import additive, compact_layer, compact_pass

TOKENS, WIDTH = 17, 32


@pytest.fixture(scope="module")
def layer() -> torch.nn.Module:
    """A layer whose biases matter, too."""
    torch.manual_seed(0)
    layer = compact_layer(WIDTH, dropout=0.1)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return layer.double().eval()


@pytest.fixture(scope="module")
def x() -> torch.Tensor:
    return torch.randn(5, TOKENS, WIDTH, generator=torch.Generator().manual_seed(1)).double()


def causal() -> torch.Tensor:
    return additive(torch.ones(TOKENS, TOKENS, dtype=torch.bool).tril()).double()


@pytest.mark.parametrize("at", [None, [16], [3, 16], [0, 1, 2]])
def test_a_layer_gives_what_its_own_forward_gives(layer, x, at):
    index = None if at is None else torch.tensor(at)
    with torch.inference_mode():
        ours, theirs = compact_pass(layer, x, index), layer(x, src_mask=causal())
    torch.testing.assert_close(ours, theirs if at is None else theirs[:, at], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("at", [None, [8, 16]])
def test_gradients_are_those_of_the_layers_own_forward(layer, x, at):
    index = None if at is None else torch.tensor(at)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    compact_pass(layer, ours, index).square().sum().backward()
    of_weights = {name: p.grad.clone() for name, p in layer.named_parameters()}
    layer.zero_grad()
    out = layer(theirs, src_mask=causal())
    (out if at is None else out[:, at]).square().sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-9)
    for name, p in layer.named_parameters():
        torch.testing.assert_close(of_weights[name], p.grad, rtol=1e-9, atol=1e-9, msg=name)
    layer.zero_grad()


def test_training_drops_what_inference_does_not(layer, x):
    """With one mask for all tokens of a sequence, so that tokens that are alike stay alike."""
    alike = x[:, :1].expand(-1, TOKENS, -1)
    try:
        torch.manual_seed(0)
        dropped = compact_pass(layer.train(), alike)
    finally:
        kept = compact_pass(layer.eval(), alike)
    assert not torch.allclose(dropped, kept)
    torch.testing.assert_close(dropped, dropped[:, :1].expand_as(dropped))


@pytest.mark.parametrize("at", [None, [5]])
def test_leak_a_token_does_not_see_later_ones(layer, x, at):
    index = None if at is None else torch.tensor(at)
    changed = x.clone()
    changed[:, 6:] += 1.0
    with torch.inference_mode():
        before, after = (compact_pass(layer, z, index) for z in (x, changed))
    seen = slice(None) if at else slice(6)
    assert torch.equal(before[:, seen], after[:, seen])
    if at is None:
        assert not torch.allclose(before[:, 6:], after[:, 6:])


def test_coherent_means_are_those_of_coherent_frames():
    means = np.random.default_rng(0).gamma(1, 3, (3, 4, 2, 5))
    means[1, 1:] = 0.0  # regions that are silent get equal shares
    assert coherent_means(np.array([6.0, 1, 2]).reshape(1, 3))[0].tolist() == [6, 2, 4]
    cutoffs = list(pd.date_range("2024-01-01", periods=2, freq="7D"))
    keys = grid_keys(["a", "b", "c"], ["chain", "x", "y", "z"], cutoffs, np.full(means.shape, np.nan))
    expected = coherent(forecast_frame(keys, means.ravel(), 0.3))
    ours = forecast_frame(keys, coherent_means(means).ravel(), 0.3)
    pd.testing.assert_frame_equal(ours, expected)


@pytest.fixture(scope="module")
def seasonal() -> np.ndarray:
    """Series with periods of their own, so that hardly two read the same padding."""
    draw, week = np.random.default_rng(0), np.arange(104)
    periods = np.arange(4, 26)
    return np.stack([draw.poisson(20 + 15 * np.sin(2 * np.pi * week / period)) for period in periods]).astype(float)


def test_an_outlook_does_not_depend_on_other_series(seasonal):
    model = FracastModel.from_pretrained(weights="fp32")
    together = ShortContext(model, 104, 4, most_periods=None, kept=3).forecast(seasonal)
    alone = ShortContext(model, 104, 4, most_periods=None).forecast(seasonal[7:8])
    np.testing.assert_allclose(together[7:8], alone, rtol=1e-5)
    few = ShortContext(model, 104, 4, most_periods=1).forecast(seasonal)  # the control: rare sets read another padding
    assert not np.allclose(few, together, rtol=1e-5)


def test_the_outlook_of_a_cutoff_is_that_of_all_cutoffs(small_panel):
    latest = small_panel.cutoffs["latest"]
    whole = with_outlook(small_panel).outlook
    expected = whole[whole["cutoff"].isin(latest)].reset_index(drop=True)
    ours = with_outlook_at(small_panel, latest).outlook
    keys = ["product_id", "horizon"]
    ours, expected = (frame.sort_values(keys, ignore_index=True) for frame in (ours, expected))
    pd.testing.assert_frame_equal(ours, expected, rtol=1e-5)
    assert len(ours) == 4 * len(small_panel.products)

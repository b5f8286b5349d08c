"""Fracast-0 on short histories: the same network, without computing its padding again for every series.

The model reads 2,048 weeks; a market has a hundred, and all before them is padding. The network is causal, so what it
makes of the padding is the same for all series of the same periods (most have none that stands out of the noise), and
is read once for them. Of the decoder, which forecasts 48 weeks, only what the next few weeks depend on is computed.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from fracast import FracastModel
from fracast._core.periodic.encoder import _fill_nan_row
from fracast._core.periodic.official_encoding import _phase_encoding, _recency_encoding
from fracast._core.periodic.official_periodogram import significant_periods
from fracast._core.periodic.seasonal_fill import folded_seasonal_fill

BATCH = 64  # series forecast at once; more outgrow the processor's cache
MIN_OBSERVED = 8  # weeks that the model needs
MOST_PERIODS = 40  # sets of periods whose padding is read; series of rarer ones read that of series without periods
SMALLEST_SPAN = 1e-5


class ShortContext:
    """Forecasts from contexts of one length.

    B series, T weeks of context, L weeks that the model reads, D width, H weeks ahead, Q quantiles.

    Parameters
    ----------
    model : with its weights.
    length : T, at most L.
    horizon : H, at most the model's 48.
    most_periods : sets of periods whose padding is read; None for all, so that a series never depends on the others.
    kept : sets whose padding is kept for later calls; about a MiB each.
    """

    def __init__(
        self, model: FracastModel, length: int, horizon: int, most_periods: int | None = MOST_PERIODS, kept: int = 0
    ):
        self.core, self.head, self.most_periods = model.core, model.head, most_periods
        self._padding = lru_cache(kept)(self._read_padding)
        self.length, self.horizon, self.width = length, horizon, model.context_length

    def _features(self, values: torch.Tensor, observed: torch.Tensor, first: int) -> torch.Tensor:
        """What the network reads of values (B, n) whose first stands at position `first`, without phases: (B, n, D)."""
        positions = torch.arange(first, first + values.shape[1]).expand(len(values), -1)
        recency = _recency_encoding(positions, self.width)
        return self.core.in_proj(torch.cat([values[..., None], observed[..., None].float(), recency], -1))

    def _read_padding(self, periods: tuple[int, ...]) -> tuple[list[torch.Tensor], torch.Tensor]:
        """The input of every layer at the last positions of the padding that the context's weeks read, each (1, ·, D),
        and the padding's hidden states (1, L - T, D).

        periods : K, of the series that are padded.
        """
        nothing = torch.zeros(1, self.width - self.length)
        x = self._features(nothing, nothing, 0) + self._phases(0, nothing.shape[1], torch.tensor([periods]))
        inputs = []
        for dilation in self.core.dilations():
            x = self.core.scale(x, dilation)
            inputs.append(x[:, -2 * dilation :].clone())
            x = self.core.block(x, dilation)
        return inputs, self.core.norm(x)

    def _phases(self, first: int, n: int, periods: torch.Tensor) -> torch.Tensor:
        """What the network reads of phases at `n` positions from `first` on: (B, n, D)."""
        positions = torch.arange(first, first + n).expand(len(periods), -1)
        periodic = self.core.periodic
        return periodic.proj(_phase_encoding(positions, periods, n_harmonics=periodic.n_harm))

    def forecast(self, contexts: np.ndarray) -> np.ndarray:
        """Quantiles (B, H, Q) that do not fall, in units.

        Parameters
        ----------
        contexts : (B, T) units, NaN where not observed, with at least `MIN_OBSERVED` weeks each.
        """
        low = np.nanmin(contexts, axis=1, keepdims=True)
        span = np.maximum(np.nanmax(contexts, axis=1, keepdims=True) - low, SMALLEST_SPAN)
        observed = torch.from_numpy(np.isfinite(contexts))
        values = torch.from_numpy(np.nan_to_num((contexts - low) / span).astype(np.float32))
        quantiles = np.empty((len(contexts), self.horizon, len(self.head.q)))
        with torch.inference_mode():
            parts = np.array_split(np.arange(len(contexts)), -(-len(contexts) // BATCH))
            periods = torch.cat([self._periods(values[rows], observed[rows]) for rows in parts])
            for own_periods, series in self._by_periods(periods):
                padding, hidden = self._padding(own_periods)
                for rows in np.array_split(series, -(-len(series) // BATCH)):
                    own = values[rows], observed[rows], periods[rows]
                    quantiles[rows] = self._decode(*own, self._encode(*own, padding), hidden).numpy()
        return np.sort(quantiles * span[:, None] + low[:, None], -1)

    def _by_periods(self, periods: torch.Tensor) -> list[tuple[tuple[int, ...], np.ndarray]]:
        """Sets of periods, and the series that read the padding of each."""
        sets, own, counts = torch.unique(periods, dim=0, return_inverse=True, return_counts=True)
        frequent = torch.argsort(-counts, stable=True)[: self.most_periods].tolist()
        groups = [(tuple(sets[i].tolist()), np.flatnonzero((own == i).numpy())) for i in frequent]
        others = np.flatnonzero(~np.isin(own.numpy(), frequent))
        none = (0,) * periods.shape[1]
        return groups + ([(none, others)] if len(others) else [])

    def _periods(self, values: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
        """Periods that stand out of the noise, (B, K), 0 where fewer do."""
        known = _fill_nan_row(values, observed)
        padded = torch.cat([known.mean(1, keepdim=True).expand(-1, self.width - self.length), known], 1)
        periodic = self.core.periodic
        return significant_periods(
            padded,
            min_period=periodic.min_period,
            max_period=self.width // 2,
            top_k=periodic.top_k,
            significance_alpha=periodic.alpha,
        )[0]

    def _encode(
        self, values: torch.Tensor, observed: torch.Tensor, periods: torch.Tensor, padding: list[torch.Tensor]
    ) -> torch.Tensor:
        """Hidden states of the context's weeks, (B, T, D); `padding` is each layer's input before them."""
        first = self.width - self.length
        x = self._features(values, observed, first) + self._phases(first, self.length, periods)
        for dilation, before in zip(self.core.dilations(), padding, strict=True):
            x = self.core.scale(x, dilation)
            taps = [self._earlier(x, before, dilation * k) for k in (2, 1, 0)]
            x = _apply(self.core.block, x, taps)
        return self.core.norm(x)

    def _earlier(self, x: torch.Tensor, padding: torch.Tensor, n: int) -> torch.Tensor:
        """A layer's input `n` weeks before each week of the context: (B, T, D), or (1, T, D) where all is padding."""
        if n == 0:
            return x
        before = padding[:, -n:]
        before = F.pad(before, (0, 0, n - before.shape[1], 0))  # nothing stands before the padding
        return (
            before[:, : self.length] if n >= self.length else torch.cat([before.expand(len(x), -1, -1), x[:, :-n]], 1)
        )

    def _decode(
        self,
        values: torch.Tensor,
        observed: torch.Tensor,
        periods: torch.Tensor,
        hidden: torch.Tensor,
        padding_hidden: torch.Tensor,
    ) -> torch.Tensor:
        """Quantiles of the next weeks, (B, H, Q), scaled as the values are."""
        head, n = self.head, len(values)
        mean = (padding_hidden.sum(1) + hidden.sum(1)) / self.width
        summary = torch.cat([mean, hidden[:, -1]], -1)[:, None].expand(-1, self.horizon, -1)
        positions = torch.arange(self.width, self.width + self.horizon).expand(n, -1)
        recency = _recency_encoding(positions, self.width)
        x = head.summary_proj(torch.cat([recency, summary], -1)) + head.queries[: self.horizon]
        for ffn, norm in zip(head.decoder_ffns, head.decoder_norms, strict=True):
            x = norm(x + ffn(x))
        for block in head.fc_blocks:
            x = block(x)
        # the library counts positions from the start of the padding
        first = self.width - self.length
        padded = F.pad(values, (first, 0)), F.pad(observed, (first, 0))
        fill = folded_seasonal_fill(padded[0], positions, periods, head.phase_bins, padded[1])
        hidden = torch.cat([padding_hidden[:, -head.future_conv.seed :].expand(n, -1, -1), hidden], 1)[
            :, -head.future_conv.seed :
        ]
        return head.out_proj(x + self._coming_states(hidden, fill, recency))

    def _coming_states(self, seed: torch.Tensor, fill: torch.Tensor, recency: torch.Tensor) -> torch.Tensor:
        """States of the next weeks (B, H, D), by the decoder's convolutions, only where they are needed.

        seed : hidden states of the last weeks.
        """
        decoder = self.head.future_conv
        coming = decoder.in_proj(torch.cat([fill[..., None], recency], -1))
        x = torch.cat([seed, coming], 1)  # B, seed + H, D
        dilations = [decoder.dilation_base**i for i in range(decoder.n_layers)]
        needed = [np.arange(decoder.seed, decoder.seed + self.horizon)]
        for dilation in dilations[::-1]:
            needed.insert(0, np.unique(np.concatenate([needed[0] - dilation * k for k in (2, 1, 0)]).clip(0)))
        at = np.arange(x.shape[1])
        for dilation, positions in zip(dilations, needed[1:], strict=True):
            taps = [x[:, np.searchsorted(at, (positions - dilation * k).clip(0))] for k in (2, 1, 0)]
            x, at = _apply(decoder.block, taps[-1], taps), positions
        return decoder.out_proj(x)


def _apply(block: torch.nn.Module, x: torch.Tensor, taps: list[torch.Tensor]) -> torch.Tensor:
    """The library's block (`SelfSimilarBlock`) at some positions: its input there, and at its filter's three taps.

    Nothing learns here, so that most is computed in place, which takes half of the time.
    """
    *weights, last = block.dw_weight[:, 0].T  # one a tap, (D,)
    *earlier, here = taps
    filtered = torch.addcmul(block.dw_bias, last, here)
    for weight, tap in zip(weights, earlier, strict=True):
        filtered.addcmul_(weight, tap)
    x = _rms_norm(block.norm1, block.pw(filtered).add_(x))
    gate, value = block.ffn.up(x).chunk(2, dim=-1)
    return _rms_norm(block.norm2, block.ffn.down(F.silu(gate).mul_(value)).add_(x))


def _rms_norm(norm: torch.nn.RMSNorm, x: torch.Tensor) -> torch.Tensor:
    """What the layer gives, written over `x`."""
    eps = torch.finfo(x.dtype).eps if norm.eps is None else norm.eps
    mean_square = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(x.shape[-1])
    return x.mul_(mean_square.add_(eps).rsqrt_()).mul_(norm.weight)

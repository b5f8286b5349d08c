"""What one SalesBert keeps of the weeks that it has read.

Axes: P products, L locations, T weeks, K new tokens, H horizons, D width; token 0 says what a product is, token t is
week t.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy

import torch

from shelfcast.live.state.layers import LayerCache, Products, bert_step, compact_step, head_shape
from shelfcast.model.layers.attention import additive, bert_pass
from shelfcast.model.salesbert import SalesBert
from shelfcast.model.tensors import MarketTensors

PRODUCTS = 25  # read at a time, as `model.forecast.predict` does: int8 text depends on the batch
TEXT = ("input_ids", "text_mask", "has_text")
# how names of weights begin that no key or value comes from
HEAD = ("head", "product.", "outlook_weight", "cold_start.", "spillover.", "appeal_")


class ModelState:
    """Keys and values of one model.

    first : (P, L, D) the product token. last : (P, L, D) the state of the last week, which the head reads.
    caches : of each layer. words : keys and values (P, A, S, d) of the text in each layer, and `text_seen` (P, 1, 1, S)
    to add to its scores; only body 'backbone' reads words beside weeks.
    """

    def __init__(self, model: SalesBert, n_products: int, n_locations: int):
        self.model = model
        self.layers = list(model.layers if model.body is None else model.body)
        self.caches = [LayerCache(n_products, n_locations, *head_shape(layer)) for layer in self.layers]
        self.first = torch.zeros(n_products, n_locations, model.static_in.out_features)
        self.last = torch.zeros_like(self.first)
        self.words: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.text_seen = torch.zeros(0)
        named = [*model.named_parameters(), *model.named_buffers()]
        self.weights = [x for name, x in named if not name.startswith(HEAD)]
        self.version = self.current_version()

    def current_version(self) -> int:
        """Rises when weights that read weeks are changed in place, as training does."""
        return sum(x._version for x in self.weights)

    def read_products(self, market: MarketTensors) -> None:
        """Read what does not change by week: text, pictures, static columns."""
        parts = [slice(start, start + PRODUCTS) for start in range(0, len(market), PRODUCTS)]
        tokens, words, seen = [], [], []
        for part in parts:
            batch = {name: x[part] for name, x in market.tensors.items() if name not in ("plan", "weeks", "labels")}
            read = batch.get("read")
            if self.model.config.use_text and self.model.body is not None and read is None:
                read = self.model.read_text(batch["input_ids"], batch["text_mask"])
            look = (batch["picture"], batch["has_picture"])
            tokens.append(self.model._product_token(batch["static"], read, batch["has_text"], *look))
            if self.model.body is None:
                own_words, own_seen = self._read_words(*(batch[name] for name in TEXT))
                words.append(own_words)
                seen.append(own_seen)
        self.first = torch.cat(tokens)
        if words:
            self.text_seen = torch.cat(seen)
            by_layer = zip(*words, strict=True)
            self.words = [tuple(map(torch.cat, zip(*layer, strict=True))) for layer in by_layer]

    def _read_words(self, input_ids, text_mask, has_text):
        """Keys and values of the words in each layer, and what is added to their scores, as `SalesBert` does it."""
        model, kept = self.model, []
        text = torch.where(has_text[:, None, None], model.embed_text(input_ids), model.absent_text)  # P S D
        first_word = torch.arange(text_mask.shape[1]) == 0
        seen = additive(torch.where(has_text[:, None], text_mask, first_word))[:, None, None]  # P 1 1 S
        for layer in self.layers:
            own = layer.attention.self
            heads = own.num_attention_heads
            projected = (project(text).unflatten(-1, (heads, -1)) for project in (own.key, own.value))
            kept.append(tuple(x.transpose(1, 2).contiguous() for x in projected))  # P A S d
            text = bert_pass(layer, text, seen)
        return kept, seen

    def advance(self, products: Products, start: int, weeks: torch.Tensor, graph: torch.Tensor) -> None:
        """Read the weeks (P, L, K, F) of these products that come after the first `start` weeks; graph (P, L, L).

        What was kept of week `start` and later ones is replaced.
        """
        model, n_locations = self.model, self.first.shape[1]
        x, token = model.week_in(weeks), start + 1
        if start == 0:
            x, token = torch.cat([self.first[products][:, :, None], x], 2), 0
        if model.body is None:
            x = x + self._positions(token, x.shape[2])
        x = model.norm_in(x)  # P L K D
        for i, (layer, cache) in enumerate(zip(self.layers, self.caches, strict=True)):
            at = (x.flatten(0, 1), cache, products, token, i + 1 == len(self.layers))
            if model.body is None:
                text = (*(words[products] for words in self.words[i]), self.text_seen[products])
                x = bert_step(layer, *at, text)
            else:
                x = compact_step(layer, *at)
            x = x.unflatten(0, (-1, n_locations))
            x = model.space[i](x, graph) if model.config.use_space else x
        self.last[products] = x[:, :, -1]

    def _positions(self, token: int, count: int) -> torch.Tensor:
        """(K, D) the backbone's positions of tokens from `token` on, which follow those of the words."""
        positions, n_words = self.model.embeddings.position_embeddings.weight, self.words[0][0].shape[2]
        offset = self.model.first_position + n_words + token
        if offset + count > len(positions):
            most = len(positions) - self.model.first_position - n_words - 1
            raise ValueError(
                f"the backbone has positions for {most} weeks behind the text, and the panel has {token + count - 1}. "
                "Train with body: compact, or begin the panel later."
            )
        return positions[offset : offset + count]

    def tensors(self, n: int) -> Iterator[tuple[str, torch.Tensor]]:
        """Name and tensor of all that is kept of the first `n` tokens; `put` takes them back."""
        yield "first", self.first
        yield "last", self.last
        if self.words:
            yield "text_seen", self.text_seen
        for i, cache in enumerate(self.caches):
            yield f"keys.{i}", cache.keys[:, :, :, :n]
            yield f"values.{i}", cache.values[:, :, :, :n]
        for i, (keys, values) in enumerate(self.words):
            yield f"word_keys.{i}", keys
            yield f"word_values.{i}", values

    def put(self, tensors: dict[str, torch.Tensor]) -> None:
        """Take what `tensors` gave."""
        self.first, self.last = tensors["first"], tensors["last"]
        for i, cache in enumerate(self.caches):
            cache.keys, cache.values = tensors[f"keys.{i}"], tensors[f"values.{i}"]
        if self.model.body is None:
            self.text_seen = tensors["text_seen"]
            self.words = [(tensors[f"word_keys.{i}"], tensors[f"word_values.{i}"]) for i in range(len(self.layers))]

    def select(self, products: torch.Tensor) -> ModelState:
        """A copy, of these products alone."""
        chosen = copy(self)
        chosen.caches = [cache.select(products) for cache in self.caches]
        chosen.first, chosen.last = self.first[products], self.last[products]
        chosen.words = [tuple(x[products] for x in words) for words in self.words]
        chosen.text_seen = self.text_seen[products] if self.words else self.text_seen
        return chosen

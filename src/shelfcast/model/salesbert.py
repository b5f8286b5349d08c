"""SalesBert: a pretrained BERT-type encoder that reads product text and weeks of sales, and forecasts counts.

One sequence per product and location: `[CLS] product text [SEP]  static  week_1 … week_T`. The text is read once per
product; static and week tokens attend to it, to themselves and to earlier weeks (prefix-LM mask, Dong et al. 2019,
UniLM), so one pass forecasts from every cutoff. Between layers the locations of a product attend to each other within
a week, gated to zero at the start so that the pretrained encoder is intact at step 0. The head turns the state at a
cutoff and the plan for week t + h into a negative binomial (Salinas et al. 2020, DeepAR) whose mean is the causal level
times exp(·), times the outlook of a zero-shot model to a learned power, times the spillover between locations.

Axes: B products, L locations, S text tokens, T weeks, N = 1 + T static and week tokens, C weeks forecast from, H
horizons, D width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedModel

from shelfcast.model.config import SalesBertConfig, SalesBertOutput
from shelfcast.model.layers.attention import (
    SpaceAttention,
    TokenDropout,
    additive,
    bert_pass,
    compact_layer,
    compact_pass,
)
from shelfcast.model.layers.cold_start import ColdStartHead
from shelfcast.model.layers.inputs import column_layer, place_layer, spillover_layer

HEAD = 128  # hidden units of the head
OUTLOOK_WEIGHT = 0.2  # log of the mean a standard deviation of the outlook, at the start: about half of the way to it
TEXTS = 64  # read at a time, so that many need no more memory
TEXT_PARTS = 64  # principal components of the texts of a market
BERT_TYPES = ("bert", "roberta", "xlm-roberta", "camembert")


class SalesBert(PreTrainedModel):
    """See the module's docstring. `forward` takes the fields of tensors.Batch by name."""

    config_class = SalesBertConfig
    base_model_prefix = "salesbert"
    main_input_name = "weeks"

    def __init__(self, config: SalesBertConfig):
        config.check()
        super().__init__(config)
        width = config.width
        if config.use_text:
            text_width = self._add_encoder(config)
        if config.body == "backbone":
            width, self.body = text_width, None
        else:
            self.body = nn.ModuleList(compact_layer(width, config.dropout) for _ in range(config.compact_layers))
            if config.use_text:
                self.from_text = nn.Linear(TEXT_PARTS, width)
        if config.n_picture:
            self.from_picture = nn.Linear(config.n_picture, width)
            self.absent_picture = nn.Parameter(torch.zeros(width))
            self.register_buffer("appeal_picture_centre", torch.zeros(config.n_picture))
            self.register_buffer("appeal_picture", torch.zeros(config.n_picture, config.n_locations))
        self.register_buffer("appeal_bias", torch.zeros(config.n_locations))
        self.static_in = column_layer(config, 0, config.n_static, width)
        self.location = place_layer(config, width)
        self.week_in = column_layer(config, 0, config.n_week, width)
        self.norm_in = nn.LayerNorm(width)
        self.drop = TokenDropout(config.dropout)
        n_layers = config.layers if config.body == "backbone" else config.compact_layers
        self.space = nn.ModuleList(SpaceAttention(width) for _ in range(n_layers if config.use_space else 0))
        if config.use_space:
            self.spillover = spillover_layer(config)
        self._add_head(config, width)
        self.post_init()
        for last in (self.head[-1], self.cold_start.out):
            nn.init.zeros_(last.weight)  # step 0 forecasts between the causal level and the outlook
            nn.init.zeros_(last.bias)

    def _add_encoder(self, config: SalesBertConfig) -> int:
        """The text encoder, with random weights, and what is fitted to its output; returns its width."""
        options = {name: value for name, value in config.backbone.items() if name != "model_type"}
        encoder_config = AutoConfig.for_model(config.backbone["model_type"], **options)
        encoder_config.num_hidden_layers = config.layers
        encoder = AutoModel.from_config(encoder_config)
        self.embeddings, self.layers = encoder.embeddings, encoder.encoder.layer
        width = encoder_config.hidden_size
        self.absent_text = nn.Parameter(torch.zeros(width if config.body == "backbone" else config.width))
        self.register_buffer("text_centre", torch.zeros(width))
        self.register_buffer("text_basis", torch.eye(width, TEXT_PARTS))
        self.register_buffer("appeal_text_centre", torch.zeros(width))
        self.register_buffer("appeal_text", torch.zeros(width, config.n_locations))
        # RoBERTa's positions start behind its padding index.
        self.first_position = encoder_config.pad_token_id + 1 if encoder_config.model_type != "bert" else 0
        return width

    def _add_head(self, config: SalesBertConfig, width: int) -> None:
        """The first layer is cut by what each input depends on, so that no part is computed for every horizon again."""
        self.head_week = column_layer(config, width, config.n_week, HEAD)
        self.product = nn.Linear(width, HEAD // 4)
        self.head_product = column_layer(config, HEAD // 4, config.n_static, HEAD)
        self.head_plan = column_layer(config, 0, config.n_plan, HEAD)
        self.head_horizon = nn.Embedding(config.horizon, HEAD)
        self.outlook_weight = nn.Parameter(torch.full((config.horizon,), OUTLOOK_WEIGHT))
        self.head = nn.Sequential(nn.GELU(), nn.Linear(HEAD, 2))
        self.cold_start = ColdStartHead(config)

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

    @classmethod
    def from_backbone(cls, path: str, pretrained: bool = True, **config) -> SalesBert:
        """Build a SalesBert around a BERT-type checkpoint (path or hub id); its weights are random if not `pretrained`.

        Raises
        ------
        ValueError : no such checkpoint, not of BERT type, or fewer layers than asked for.
        """
        try:
            encoder_config = AutoConfig.from_pretrained(path)
        except Exception as error:
            raise ValueError(
                f"backbone {path!r} cannot be loaded: {str(error).splitlines()[0]} Use 'minilm' (packaged), a folder "
                "with a BERT-type checkpoint, or a hub id that is reachable."
            ) from error
        kind, n_layers = encoder_config.model_type, encoder_config.num_hidden_layers
        if kind not in BERT_TYPES:
            raise ValueError(f"backbone {path!r} is a {kind!r}. Choose one of BERT type: {', '.join(BERT_TYPES)}.")
        if not 1 <= (asked := config.get("layers", 3)) <= n_layers:
            raise ValueError(f"layers is {asked}, and backbone {path!r} has {n_layers}. Ask for fewer.")
        options = encoder_config.to_dict()
        options.pop("_name_or_path", None)  # differs by folder
        model = cls(SalesBertConfig(backbone=options, **config))
        if pretrained and model.config.use_text:
            encoder = AutoModel.from_pretrained(path)
            model.embeddings.load_state_dict(encoder.embeddings.state_dict())
            for own, theirs in zip(model.layers, encoder.encoder.layer, strict=False):
                own.load_state_dict(theirs.state_dict())
        return model

    def forward(
        self,
        static,
        weeks,
        plan,
        level,
        graph,
        typical,
        location_shock,
        input_ids=None,
        text_mask=None,
        has_text=None,
        read=None,
        picture=None,
        has_picture=None,
        cold_start=None,
        labels=None,
        at=None,
    ) -> SalesBertOutput:
        """One pass over all cutoffs; see tensors.Batch for shapes. Labels that are NaN are left out of the loss.

        read : what `read_text` returned for the texts, where they were read before (body 'compact').
        cold_start : (B,) bool, products to forecast as if they had no history.
        at : (C,) int64, the weeks to forecast from, all where none are given; labels are of these.
        """
        if self.config.use_text and read is None and (self.body is not None or cold_start is not None):
            read = self.read_text(input_ids, text_mask)
        by_week = (weeks, plan, level, typical, location_shock)
        weeks_at, plan, level, typical, shock = by_week if at is None else (x[:, :, at] for x in by_week)
        new = None
        if cold_start is not None:
            appeal = self.appeal(read, has_text, picture, has_picture)[:, :, None, None]
            new = self.cold_start(typical[..., None], appeal, static[:, :, None, None], plan)
            if cold_start.all():  # nothing of a history is needed
                return self._output(*new, labels)
        states = self.encode(static, weeks, graph, input_ids, text_mask, has_text, read, picture, has_picture, at)
        mean, dispersion = self.decode(*states, static, weeks_at, plan, level, shock)
        if new is not None:
            is_new = cold_start[:, None, None, None]
            mean, dispersion = torch.where(is_new, new[0], mean), torch.where(is_new, new[1], dispersion)
        return self._output(mean, dispersion, labels)

    def encode(self, static, weeks, graph, input_ids, text_mask, has_text, read, picture, has_picture, at):
        """What `decode` needs of all but plan, level and shocks: the product token (B, L, D), states of weeks (B, L, C, D)."""
        first = self._product_token(static, read, has_text, picture, has_picture)
        x = torch.cat([first[:, :, None], self.week_in(weeks)], 2)  # B L N D
        tokens = None if at is None else 1 + at  # that the last layer is computed for
        if self.body is None:
            x = self._through_backbone(x, input_ids, text_mask, has_text, graph, tokens)
        else:
            x = self._through_compact(x, graph, tokens)
        return first, x[:, :, 1:] if at is None else x

    def decode(self, first, x, static, weeks, plan, level, shock) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and dispersion (B, L, C, H) from what `encode` returned and the inputs of the C weeks."""
        mean, dispersion = self._head(x, weeks, torch.cat([self.product(first), static], -1), plan, level)
        return mean * self.spillover(shock).exp() if self.config.use_space else mean, dispersion

    def _output(self, mean, dispersion, labels) -> SalesBertOutput:
        loss = None if labels is None else self.loss(mean, dispersion, labels)
        return SalesBertOutput(loss=loss, mean=mean, dispersion=dispersion)

    def _product_token(self, static, read, has_text, picture, has_picture) -> torch.Tensor:
        """(B, L, D): what a product is, at each location. A text or picture that is absent is one learned vector."""
        token = self.static_in(static) + self.location(static)
        if self.config.n_picture:
            look = torch.where(has_picture[:, None], self.from_picture(picture), self.absent_picture)
            token = token + look[:, None]
        if self.config.use_text and self.body is not None:
            parts = self.from_text((read - self.text_centre) @ self.text_basis)
            token = token + torch.where(has_text[:, None], parts, self.absent_text)[:, None]
        return token

    def _through_compact(self, x, graph, tokens) -> torch.Tensor:
        """The compact body over x (B, L, N, D); the last layer of `tokens` alone, where they are given.

        No positions: those of coming weeks were never trained, and by those of past weeks they are learned by heart.
        """
        x = self.drop(self.norm_in(x))
        for i, layer in enumerate(self.body):
            only = tokens if i + 1 == len(self.body) else None
            x = compact_pass(layer, x.flatten(0, 1), only).unflatten(0, x.shape[:2])
            x = self.space[i](x, graph) if self.config.use_space else x
        return x

    def _through_backbone(self, x, input_ids, text_mask, has_text, graph, tokens) -> torch.Tensor:
        """The encoder's layers over x (B, L, N, D) behind the text (B, S); the last one of `tokens` alone."""
        n_locations, n = x.shape[1:3]
        causal = additive(torch.ones(n, n, dtype=torch.bool, device=x.device).tril())  # N N
        text = torch.where(has_text[:, None, None], self.embed_text(input_ids), self.absent_text)  # B S D
        first_word = torch.arange(text_mask.shape[1], device=x.device) == 0  # an absent text is one learned token
        text_seen = additive(torch.where(has_text[:, None], text_mask, first_word))[:, None, None]  # B 1 1 S
        offset = self.first_position + text.shape[1]
        x = self.drop(self.norm_in(x + self.embeddings.position_embeddings.weight[offset : offset + n]))
        rows = text_seen.expand(-1, -1, n, -1)  # B 1 N S
        mask = torch.cat([rows, causal.expand(len(rows), 1, -1, -1)], -1).repeat_interleave(n_locations, 0)
        for i, layer in enumerate(self.layers):
            last = i + 1 == len(self.layers)
            x = bert_pass(layer, x.flatten(0, 1), mask, text, tokens if last else None).unflatten(0, (-1, n_locations))
            if not last:
                text = bert_pass(layer, text, text_seen)
            x = self.space[i](x, graph) if self.config.use_space else x
        return x

    def read_text(self, input_ids, text_mask) -> torch.Tensor:
        """(B, S) tokens -> (B, D) mean of the encoder's last states over the words."""
        if len(input_ids) > TEXTS:
            parts = zip(input_ids.split(TEXTS), text_mask.split(TEXTS), strict=True)
            return torch.cat([self.read_text(*part) for part in parts])
        text = self.word_states(input_ids, text_mask)
        return (text * text_mask[..., None]).sum(1) / text_mask.sum(1, keepdim=True)

    def word_states(self, input_ids, text_mask) -> torch.Tensor:
        """(B, S) tokens -> (B, S, D) the encoder's last states."""
        text, mask = self.embed_text(input_ids), additive(text_mask)[:, None, None]
        for layer in self.layers:
            text = bert_pass(layer, text, mask)
        return text

    def appeal(self, read, has_text, picture, has_picture) -> torch.Tensor:
        """(B, L) log of what a product sells over what is typical, by its text (as read) and picture."""
        log_factor = self.appeal_bias
        if self.config.use_text:
            log_factor = log_factor + (read - self.appeal_text_centre) * has_text[:, None] @ self.appeal_text
        if self.config.n_picture:
            look = (picture - self.appeal_picture_centre) * has_picture[:, None]
            log_factor = log_factor + look @ self.appeal_picture
        return log_factor.expand(len(picture), -1)

    def embed_text(self, input_ids) -> torch.Tensor:
        """(B, S) tokens -> (B, S, D) word vectors; these may also be given in place of tokens."""
        if input_ids.is_floating_point():
            return input_ids
        position = torch.arange(input_ids.shape[1], device=input_ids.device)[None] + self.first_position
        kind = torch.zeros_like(input_ids)  # given, as loading leaves the encoder's own default unset
        return self.embeddings(input_ids=input_ids, token_type_ids=kind, position_ids=position)

    def _head(self, x, weeks, product, plan, level):
        """x (B, L, T, D), product (B, L, ·) -> mean and dispersion, each (B, L, T, H)."""
        h = plan.shape[3]
        state = self.head_week(torch.cat([x, weeks], -1)) + self.head_product(product)[:, :, None]
        state = self.drop(state)  # before the horizons part: a fourth of the work
        # In place, since this is the largest tensor of all.
        state = self.head_plan(plan).add_(state[:, :, :, None]).add_(self.head_horizon.weight[:h])  # B L T H ·
        out = self.head(state)  # B L T H 2
        log_factor = out[..., 0] + self.outlook_weight[:h] * plan[..., -1]
        mean = level[..., None] * torch.exp(log_factor.clamp(-6, 4))
        return mean, F.softplus(out[..., 1]) + 1e-4

    def loss(self, mean, dispersion, labels) -> torch.Tensor:
        """Mean negative log-likelihood of the labels that are not NaN; 0 where there are none."""
        given = ~labels.isnan()
        y, mean = labels[given], mean[given]
        size = 1 / dispersion[given]
        law = torch.distributions.NegativeBinomial(size, logits=torch.log(mean / size), validate_args=False)
        return -law.log_prob(y).sum() / max(len(y), 1)

"""SalesBert: a pretrained BERT-type encoder that reads product text and weeks of sales, and forecasts counts.

One sequence per product and location: `[CLS] product text [SEP]  static  week_1 … week_T`. The text is read once per
product; static and week tokens attend to it, to themselves and to earlier weeks (prefix-LM mask, Dong et al. 2019,
UniLM), so one pass forecasts from every cutoff. Between layers the locations of a product attend to each other within
a week (factorised space-time attention, Arnab et al. 2021, ViViT), gated to zero at the start so that the pretrained
encoder is intact at step 0. The head turns the state at a cutoff and the plan for week t + h into a negative binomial
(Salinas et al. 2020, DeepAR) whose mean is the causal level times exp(·), times what travels between locations.

Axes: B products, L locations, S text tokens, T weeks, N = 1 + T static and week tokens, H horizons, D width, A heads.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.utils import ModelOutput

from shelfcast.model.space import SpaceAttention, Spillover

HEAD = 128  # hidden units of the head
TEXTS = 256  # read at a time, so that many need no more memory
TEXT_PARTS = 64  # principal components of the texts of a market
BERT_TYPES = ("bert", "roberta", "xlm-roberta", "camembert")
DISTRIBUTIONS = ("negative_binomial", "poisson")


class SalesBertConfig(PretrainedConfig):
    """What a SalesBert is made of; an unknown key is an error.

    backbone : configuration of the BERT-type encoder (a dict, as transformers writes it).
    body : 'backbone' lets the encoder carry the weeks; 'compact' lets it read the text once and a small transformer
        of `width` and `compact_layers` carry the weeks; choose it for speed.
    use_text : False leaves text and encoder out altogether (the control 'small_transformer', with body 'compact').
    use_space : what locations tell of each other. layers : encoder layers kept, from the bottom.
    n_static, n_week, n_plan, n_picture, n_locations, horizon : sizes of the batch (see dataset.Batch); without pictures
        n_picture is 0.
    """

    model_type = "salesbert"

    def __init__(
        self,
        backbone: dict | None = None,
        body: str = "backbone",
        layers: int = 3,
        width: int = 128,
        compact_layers: int = 2,
        use_text: bool = True,
        use_space: bool = True,
        dropout: float = 0.1,
        distribution: str = "negative_binomial",
        n_static: int = 1,
        n_week: int = 1,
        n_plan: int = 1,
        n_picture: int = 0,
        n_locations: int = 1,
        horizon: int = 4,
        **kwargs,
    ):
        self.backbone = backbone or {}
        self.body, self.layers, self.width, self.compact_layers = body, layers, width, compact_layers
        self.use_text, self.use_space, self.dropout, self.distribution = (
            use_text,
            use_space,
            dropout,
            distribution,
        )
        self.n_static, self.n_week, self.n_plan, self.n_locations = n_static, n_week, n_plan, n_locations
        self.n_picture, self.horizon = n_picture, horizon
        super().__init__(**kwargs)

    def check(self) -> None:
        """Raise a ValueError for a value that cannot be built."""
        if self.body not in ("backbone", "compact"):
            raise ValueError(f"body is {self.body!r}; choose 'backbone' or 'compact'.")
        if self.body == "backbone" and not self.use_text:
            raise ValueError("use_text=False leaves the encoder out; it needs body='compact'.")
        if self.distribution not in DISTRIBUTIONS:
            raise ValueError(f"distribution is {self.distribution!r}; choose one of {', '.join(DISTRIBUTIONS)}.")


@dataclass
class SalesBertOutput(ModelOutput):
    """loss: scalar or None; mean: (B, L, T, H) units a week; dispersion: (B, L, T, H), variance = m + dispersion m²."""

    loss: torch.Tensor | None = None
    mean: torch.Tensor | None = None
    dispersion: torch.Tensor | None = None


class ColdStartHead(nn.Module):
    """Forecasts a product without a history from what it is and what is planned; `appeal.fit_new_product_head` trains it, apart.

    With weights shared with the rest, the model learned how well each product of the training weeks sold, and its
    forecasts from a history leaned on that instead of on the history.
    """

    def __init__(self, config: SalesBertConfig, width: int = 32):
        super().__init__()
        self.product, self.plan = nn.Linear(config.n_static, width), nn.Linear(config.n_plan, width)
        self.dropout, self.out = nn.Dropout(config.dropout), nn.Linear(width, 2)
        self.trust = nn.Parameter(torch.ones(1))

    def forward(self, typical, appeal, static, plan) -> tuple[torch.Tensor, torch.Tensor]:
        """typical and appeal (…), static (…, F) and plan (…, F_plan) -> mean and dispersion (…); all broadcast."""
        out = self.out(self.dropout(F.gelu(self.product(static) + self.plan(plan))))
        return typical * torch.exp((self.trust * appeal + out[..., 0]).clamp(-6, 4)), F.softplus(out[..., 1]) + 1e-4


class SalesBert(PreTrainedModel):
    """See the module's docstring. `forward` takes the fields of dataset.Batch by name."""

    config_class = SalesBertConfig
    base_model_prefix = "salesbert"
    main_input_name = "weeks"

    def __init__(self, config: SalesBertConfig):
        config.check()
        super().__init__(config)
        width = config.width
        if config.use_text:
            known = {k: v for k, v in config.backbone.items() if k != "model_type"}
            encoder_config = AutoConfig.for_model(config.backbone["model_type"], **known)
            encoder_config.num_hidden_layers = config.layers
            encoder = AutoModel.from_config(encoder_config)
            self.embeddings, self.layers = encoder.embeddings, encoder.encoder.layer
            text_width = encoder_config.hidden_size
            self.absent_text = nn.Parameter(torch.zeros(text_width if config.body == "backbone" else width))
            self.register_buffer("text_centre", torch.zeros(text_width))
            self.register_buffer("text_basis", torch.eye(text_width, TEXT_PARTS))
            self.register_buffer("appeal_text_centre", torch.zeros(text_width))
            self.register_buffer("appeal_text", torch.zeros(text_width, config.n_locations))
            # RoBERTa's positions start behind its padding index.
            self.first_position = encoder_config.pad_token_id + 1 if encoder_config.model_type != "bert" else 0
        if config.body == "backbone":
            width, self.body = text_width, None
        else:
            self.body = nn.ModuleList(
                nn.TransformerEncoderLayer(
                    width, 4, 2 * width, config.dropout, "gelu", batch_first=True, norm_first=True
                )
                for _ in range(config.compact_layers)
            )
            for layer in self.body:  # chance in attention's weights costs more time than all else of it
                layer.self_attn.dropout = 0.0
            if config.use_text:
                self.from_text = nn.Linear(TEXT_PARTS, width)
        if config.n_picture:
            self.from_picture = nn.Linear(config.n_picture, width)
            self.absent_picture = nn.Parameter(torch.zeros(width))
            self.register_buffer("appeal_picture_centre", torch.zeros(config.n_picture))
            self.register_buffer("appeal_picture", torch.zeros(config.n_picture, config.n_locations))
        self.register_buffer("appeal_bias", torch.zeros(config.n_locations))
        self.static_in = nn.Linear(config.n_static, width)
        self.location = nn.Embedding(config.n_locations, width)
        self.week_in = nn.Linear(config.n_week, width)
        self.norm_in = nn.LayerNorm(width)
        n_layers = config.layers if config.body == "backbone" else config.compact_layers
        self.space = nn.ModuleList(SpaceAttention(width) for _ in range(n_layers if config.use_space else 0))
        if config.use_space:
            self.spillover = Spillover(config.n_locations, config.horizon)
        # The head's first layer, cut by what each input depends on, so that no part is computed for every horizon again.
        self.head_week = nn.Linear(width + config.n_week, HEAD)
        self.product = nn.Linear(width, HEAD // 4)
        self.head_product = nn.Linear(HEAD // 4 + config.n_static, HEAD)
        self.head_plan = nn.Linear(config.n_plan, HEAD)
        self.head_horizon = nn.Embedding(config.horizon, HEAD)
        self.head = nn.Sequential(nn.GELU(), nn.Linear(HEAD, 2))
        self.cold_start = ColdStartHead(config)
        self.post_init()
        for last in (self.head[-1], self.cold_start.out):
            nn.init.zeros_(last.weight)  # step 0 forecasts the causal level
            nn.init.zeros_(last.bias)

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
        if encoder_config.model_type not in BERT_TYPES:
            raise ValueError(
                f"backbone {path!r} is a {encoder_config.model_type!r}; BERT types: {', '.join(BERT_TYPES)}."
            )
        layers = config.get("layers", 3)
        if not 1 <= layers <= encoder_config.num_hidden_layers:
            raise ValueError(f"layers is {layers}; backbone {path!r} has {encoder_config.num_hidden_layers}.")
        told = {k: v for k, v in encoder_config.to_dict().items() if k != "_name_or_path"}  # differs by folder
        model = cls(SalesBertConfig(backbone=told, **config))
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
        """One pass over all cutoffs; see dataset.Batch for shapes. Labels that are NaN are left out of the loss.

        read : what `read_text` made of the text, where it is known already (body 'compact').
        cold_start : (B,) bool, products to forecast as if they had no history.
        at : (C,) int64, the weeks to forecast from, which are all where none are named; labels are of these.
        """
        n_locations, n_weeks = weeks.shape[1:3]
        place = torch.arange(n_locations, device=weeks.device)
        first = self.static_in(static) + self.location(place)  # B L D
        if self.config.n_picture:
            first = first + torch.where(has_picture[:, None], self.from_picture(picture), self.absent_picture)[:, None]
        if self.config.use_text and (self.body is not None or cold_start is not None):
            read = self.read_text(input_ids, text_mask) if read is None else read
            if self.body is not None:
                parts = self.from_text((read - self.text_centre) @ self.text_basis)
                first = first + torch.where(has_text[:, None], parts, self.absent_text)[:, None]
        by_week = (weeks, plan, level, typical, location_shock)
        weeks_at, plan, level, typical, location_shock = by_week if at is None else (x[:, :, at] for x in by_week)
        if cold_start is not None:
            appeal = self.appeal(read, has_text, picture, has_picture)[:, :, None, None]
            new, wide = self.cold_start(typical[..., None], appeal, static[:, :, None, None], plan)
            if cold_start.all():  # nothing of a history is needed
                loss = None if labels is None else self.loss(new, wide, labels)
                return SalesBertOutput(loss=loss, mean=new, dispersion=wide)
        x = torch.cat([first[:, :, None], self.week_in(weeks)], 2)  # B L N D
        causal = _additive(torch.ones(1 + n_weeks, 1 + n_weeks, dtype=torch.bool, device=x.device).tril())  # N N
        asked = None if at is None else 1 + at  # tokens that the last layer is computed for
        if self.body is None:
            # An absent text is one learned token.
            text = torch.where(has_text[:, None, None], self._embed_text(input_ids), self.absent_text)  # B S D
            first_word = torch.arange(text_mask.shape[1], device=x.device) == 0
            seen = torch.where(has_text[:, None], text_mask, first_word)  # B S
            x = self._backbone(x, text, _additive(seen)[:, None, None], causal, graph, asked)
        else:
            # No positions: those of weeks to come were never trained, and those of past weeks learn them by heart.
            x = self.norm_in(x)
            x = F.dropout(x, self.config.dropout, self.training)
            for i, layer in enumerate(self.body):
                only = asked if i + 1 == len(self.body) else None
                x = _pass(layer, x.flatten(0, 1), causal, only).unflatten(0, (-1, n_locations))
                x = self.space[i](x, graph) if self.config.use_space else x
        x = x[:, :, 1:] if at is None else x
        mean, dispersion = self._head(x, weeks_at, torch.cat([self.product(first), static], -1), plan, level)
        if self.config.use_space:
            mean = mean * self.spillover(location_shock).exp()
        if cold_start is not None:
            mean, dispersion = (
                torch.where(cold_start[:, None, None, None], *x) for x in ((new, mean), (wide, dispersion))
            )
        loss = None if labels is None else self.loss(mean, dispersion, labels)
        return SalesBertOutput(loss=loss, mean=mean, dispersion=dispersion)

    def _backbone(self, x, text, text_mask, causal, graph, asked) -> torch.Tensor:
        """The encoder's layers over x (B, L, N, D) behind the text (B, S, D); the last one of the tokens `asked`."""
        n_locations, n = x.shape[1:3]
        offset = self.first_position + text.shape[1]
        x = self.norm_in(x + self.embeddings.position_embeddings.weight[offset : offset + n])
        x = F.dropout(x, self.config.dropout, self.training)
        seen = text_mask.expand(-1, -1, n, -1)  # B 1 N S
        mask = torch.cat([seen, causal.expand(len(seen), 1, -1, -1)], -1).repeat_interleave(n_locations, 0)
        for i, layer in enumerate(self.layers):
            only = asked if i + 1 == len(self.layers) else None
            x = _attend(layer, x.flatten(0, 1), mask, text, only).unflatten(0, (-1, n_locations))
            if i + 1 < len(self.layers):
                text = _attend(layer, text, text_mask)
            x = self.space[i](x, graph) if self.config.use_space else x
        return x

    def read_text(self, input_ids, text_mask) -> torch.Tensor:
        """(B, S) tokens -> (B, D) mean of the encoder's last states over the words."""
        if len(input_ids) > TEXTS:
            parts = zip(input_ids.split(TEXTS), text_mask.split(TEXTS), strict=True)
            return torch.cat([self.read_text(*part) for part in parts])
        text, seen = self._embed_text(input_ids), _additive(text_mask)[:, None, None]
        for layer in self.layers:
            text = _attend(layer, text, seen)
        return (text * text_mask[..., None]).sum(1) / text_mask.sum(1, keepdim=True)

    @torch.no_grad()
    def fit_text(self, read: torch.Tensor) -> None:
        """Take the principal components of a market's texts (P, D), each with variance 1, for what they say.

        Texts of a category differ little, and what tells their products apart (a flavour, a claim) varies less than
        brand and pack do: unscaled, it is hardly learned before the rest is learned by heart.
        """
        self.text_centre.copy_(read.mean(0))
        centred = read - self.text_centre
        kept = min(TEXT_PARTS, len(read) // 2)
        _, scale, axes = torch.linalg.svd(centred, full_matrices=False)
        scale = scale[:kept] / len(read) ** 0.5
        self.text_basis.zero_()
        self.text_basis[:, :kept] = torch.where(scale > 1e-3 * scale[:1], axes[:kept].T / scale.clamp(min=1e-6), 0.0)

    def appeal(self, read, has_text, picture, has_picture) -> torch.Tensor:
        """(B, L) log of what a product sells over what is typical, by what its text (as read) and picture say."""
        found = self.appeal_bias
        if self.config.use_text:
            found = found + (read - self.appeal_text_centre) * has_text[:, None] @ self.appeal_text
        if self.config.n_picture:
            found = found + (picture - self.appeal_picture_centre) * has_picture[:, None] @ self.appeal_picture
        return found.expand(len(picture), -1)

    def _embed_text(self, input_ids) -> torch.Tensor:
        """(B, S) tokens -> (B, S, D) word vectors."""
        position = torch.arange(input_ids.shape[1], device=input_ids.device)[None] + self.first_position
        # given, since the encoder's own default is a buffer that loading leaves unset
        kind = torch.zeros_like(input_ids)
        return self.embeddings(input_ids=input_ids, token_type_ids=kind, position_ids=position)

    def _head(self, x, weeks, product, plan, level):
        """x (B, L, T, D), product (B, L, ·) -> mean and dispersion, each (B, L, T, H)."""
        h = plan.shape[3]
        state = self.head_week(torch.cat([x, weeks], -1)) + self.head_product(product)[:, :, None]
        state = F.dropout(state, self.config.dropout, self.training)  # before the horizons part: a fourth of the work
        out = self.head(state[:, :, :, None] + self.head_plan(plan) + self.head_horizon.weight[:h])  # B L T H 2
        mean = level[..., None] * torch.exp(out[..., 0].clamp(-6, 4))
        return mean, F.softplus(out[..., 1]) + 1e-4

    def loss(self, mean, dispersion, labels) -> torch.Tensor:
        """Mean negative log-likelihood of the labels that are not NaN."""
        wanted = ~labels.isnan()
        y, mean = labels[wanted], mean[wanted]
        if self.config.distribution == "poisson":
            return F.poisson_nll_loss(mean, y, log_input=False, full=True)
        size = 1 / dispersion[wanted]
        law = torch.distributions.NegativeBinomial(size, logits=torch.log(mean / size), validate_args=False)
        return -law.log_prob(y).mean()


def _additive(seen: torch.Tensor) -> torch.Tensor:
    """A mask to add to attention scores: 0 where one may look, else minus infinity."""
    return torch.zeros(seen.shape, device=seen.device).masked_fill(~seen, -torch.inf)


def _pass(layer: nn.TransformerEncoderLayer, x: torch.Tensor, mask: torch.Tensor, at: torch.Tensor | None):
    """One layer of the compact body over x (·, N, D); of the C tokens `at` alone, (·, C, D), where they are named."""
    if at is None:
        return layer(x, src_mask=mask)
    keys = layer.norm1(x)
    told, _ = layer.self_attn(keys[:, at], keys, keys, attn_mask=mask[at], need_weights=False)
    x = x[:, at] + layer.dropout1(told)
    inner = layer.dropout(layer.activation(layer.linear1(layer.norm2(x))))
    return x + layer.dropout2(layer.linear2(inner))


def _attend(layer: nn.Module, x: torch.Tensor, mask: torch.Tensor, memory=None, at=None) -> torch.Tensor:
    """One BERT layer over x (B·L, N, D) that also looks at `memory` (B, S, D); mask (·, 1, N, S + N) is additive.

    The layer's own modules are called in its own order, so that its pretrained weights mean what they meant (equal to
    the layer's forward without memory: tested), while text that all locations share is not computed again for each.
    at : (C,) tokens to compute it of, which are all where none are named.
    """
    own = layer.attention.self
    heads, dropout = own.num_attention_heads, own.dropout.p if layer.training else 0.0
    asked, mask = (x, mask) if at is None else (x[:, at], mask[:, :, at])
    parts = zip((own.query, own.key, own.value), (asked, x, x), strict=True)
    q, k, v = (f(z).unflatten(-1, (heads, -1)).transpose(1, 2) for f, z in parts)  # · A N d
    if memory is not None:
        past = (f(memory).unflatten(-1, (heads, -1)).transpose(1, 2) for f in (own.key, own.value))  # B A S d
        times = len(x) // len(memory)
        k, v = (torch.cat([m.repeat_interleave(times, 0), z], 2) for m, z in zip(past, (k, v), strict=True))
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)  # · A N d
    y = layer.attention.output(y.transpose(1, 2).flatten(-2), asked)
    return layer.output(layer.intermediate(y), y)

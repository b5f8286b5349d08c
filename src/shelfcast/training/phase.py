"""One phase of a training: a model, its data, transformers' arguments, and the history that comes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import torch
from transformers import EarlyStoppingCallback, PrinterCallback, TrainingArguments, set_seed

from shelfcast.model.adapters import adapt
from shelfcast.model.salesbert import SalesBert
from shelfcast.model.tensors import MarketTensors
from shelfcast.model_options import Training
from shelfcast.training.initial import fit_spillover, fit_text_axes
from shelfcast.training.processes.launch import on_processes
from shelfcast.training.trainer import CompleteMark, SalesTrainer, last_whole_checkpoint, validation_wql

LEAST_GAIN = 2e-4  # in WQL: a smaller one does not count as a better score


@dataclass(frozen=True)
class Phase:
    """What one phase trains, apart from its seed and folder.

    name : 'select' (judged every few steps, stops early) or 'refit' (not judged).
    train, validation : labels to learn from, and to be judged by ('select' alone).
    batch : products in a step. n_steps : at most. warm_start : judge the model before its first step too.
    collator : items to a batch, where they are not products.
    """

    name: str
    make_model: Callable[[str], SalesBert]
    train: MarketTensors
    validation: MarketTensors | None
    training: Training
    batch: int
    n_steps: int
    warm_start: bool = False
    callbacks: tuple = ()
    collator: Callable | None = None

    def run(self, seed: int, folder: Path) -> tuple[SalesBert, pd.DataFrame]:
        """Train from a seed, or continue from the last checkpoint in `folder`, on as many processes as asked for.

        Returns
        -------
        The model with averaged weights, on the CPU, and a row per judgement: step, loss, wql (NaN in a refit), seed.
        """
        if self.n_steps == 0:
            set_seed(seed)
            return self.make_model(self.name), pd.DataFrame(columns=["step", "loss", "wql", "seed"])
        checkpoint = last_whole_checkpoint(folder / self.name)
        if self.training.processes > 1:
            return on_processes(self, seed, folder, checkpoint)
        return self.run_here(seed, folder, checkpoint)

    def run_here(self, seed: int, folder: Path, checkpoint: str | None) -> tuple[SalesBert, pd.DataFrame]:
        """What `run` returns, trained here: by the only process, or by one of several that do the same."""
        set_seed(seed)
        model = adapt(self.make_model(self.name), self.training)
        train, validation = self._prepared(model)
        watch = [EarlyStoppingCallback(self.training.patience, LEAST_GAIN)] if self.judged else []
        trainer = SalesTrainer(
            self.training,
            model=model,
            args=self._arguments(seed, folder / self.name),
            train_dataset=train,
            eval_dataset=validation,
            data_collator=self.collator,
            compute_metrics=validation_wql,
            callbacks=[*watch, CompleteMark(), *self.callbacks],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train(resume_from_checkpoint=checkpoint)
        trainer.set_weights(trainer.average.module)
        model = trainer.accelerator.unwrap_model(model, keep_fp32_wrapper=False)  # else it would forecast in bf16
        return model.cpu(), self._history(trainer.state.log_history).assign(seed=seed)

    @property
    def judged(self) -> bool:
        """Whether validation weeks judge this phase."""
        return self.validation is not None

    def _prepared(self, model: SalesBert) -> tuple[MarketTensors, MarketTensors | None]:
        """Fit what starts from a regression or a decomposition, and read texts once where the encoder is frozen."""
        train, validation = self.train, self.validation
        if model.config.use_text:
            train, validation = with_texts(model, self.training, train, validation)
        own_space = model.config.use_space and model.config.columns == "own"
        if own_space and not model.spillover.weight.any():  # a base has learned it
            fit_spillover(model.spillover, train.tensors["location_shock"].unique(dim=0))  # once a category
        return train, validation

    def _arguments(self, seed: int, folder: Path) -> TrainingArguments:
        training = self.training
        every = min(judge_every(training, len(self.train), self.batch), self.n_steps)
        return TrainingArguments(
            output_dir=str(folder),
            max_steps=self.n_steps,
            per_device_train_batch_size=self.batch,
            per_device_eval_batch_size=4 * self.batch,
            gradient_accumulation_steps=training.accumulation,
            learning_rate=training.learning_rate,
            lr_scheduler_type="constant_with_warmup",
            warmup_steps=training.warmup,
            max_grad_norm=1.0,
            bf16=training.precision == "bf16",
            use_cpu=not torch.cuda.is_available(),
            eval_strategy="steps" if self.judged else "no",
            eval_steps=every,
            eval_on_start=self.warm_start and self.judged,
            save_steps=every,
            logging_steps=every,
            metric_for_best_model="wql",
            greater_is_better=False,
            save_total_limit=2,
            restore_callback_states_from_checkpoint=True,  # how long it has been without a better score
            remove_unused_columns=False,
            label_names=["labels"],
            report_to=["tensorboard"],
            disable_tqdm=True,  # `in_parallel` has one bar for all seeds
            seed=seed,
            data_seed=seed,
            dataloader_pin_memory=False,
        )

    def _history(self, log: list[dict]) -> pd.DataFrame:
        last = pd.DataFrame(log).groupby("step").last()  # a training that continued logs a step twice
        steps = last.reindex(columns=["loss", "eval_wql"]).rename(columns={"eval_wql": "wql"})
        return steps.dropna(subset="wql" if self.judged else "loss").reset_index()


def judge_every(training: Training, n_products: int, batch: int) -> int:
    """Steps between two judgements: an epoch's where these are more than `training.judge_steps`."""
    return max(training.judge_steps, -(-n_products // (batch * training.accumulation)))


@torch.no_grad()
def with_texts(
    model: SalesBert, training: Training, train: MarketTensors, validation: MarketTensors | None
) -> list[MarketTensors | None]:
    """Fit the model's axes of text to the market's texts, which both splits share, and give the splits their texts.

    Where training leaves the encoder as it is, these are read here, once. A body that is the encoder itself, or one
    that is trained, reads them at each step.
    """
    fields = train.tensors
    read = fields["read"] if "read" in fields else model.eval().read_text(fields["input_ids"], fields["text_mask"])
    if not model.text_centre.any():  # a base has axes of its own
        fit_text_axes(model, read[fields["has_text"]] if fields["has_text"].any() else read)
    model.train()
    if training.mode == "frozen" and model.config.body == "compact":
        unused, texts = ("input_ids", "text_mask"), {"read": read}
    else:
        unused, texts = ("read",), {}

    def changed(split: MarketTensors) -> MarketTensors:
        others = {name: x for name, x in split.tensors.items() if name not in unused}
        return replace(split, tensors=others | texts)

    return [split and changed(split) for split in (train, validation)]

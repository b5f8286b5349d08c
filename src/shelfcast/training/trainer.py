"""One training of one model by transformers' Trainer: its settings, its averaged weights, its checkpoints."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import Trainer, TrainerCallback
from transformers.trainer_utils import get_last_checkpoint
from transformers.utils import is_torch_bf16_gpu_available

from shelfcast.judge.distribution import count_wql
from shelfcast.settings import Training

SEAL = "whole"  # the empty file that says so
AVERAGE = "average.pt"


def check_precision(training: Training) -> None:
    """Raise where bf16 is asked for and neither an accelerator nor the CPU multiplies such matrices."""
    if training.precision == "bf16" and not (is_torch_bf16_gpu_available() or _cpu_has_bf16()):
        raise ValueError("finetune.precision is 'bf16', which neither accelerator nor CPU has here. Choose 'fp32'.")


def _cpu_has_bf16() -> bool:
    has = torch.cpu.get_capabilities()
    return has.get("avx512_bf16", False) or has.get("amx_bf16", False)


class SalesTrainer(Trainer):
    """A Trainer that averages weights and varies levels; the pretrained encoder has a learning rate of its own."""

    loss_is_scaled_for_ga = True  # by `compute_loss`

    def __init__(self, training: Training, **kwargs):
        self.training = training
        super().__init__(**kwargs)
        products_a_step = self.args.per_device_train_batch_size * training.accumulation
        reach = training.average_epochs * len(self.train_dataset) / products_a_step  # steps
        # of what is trained alone: a frozen encoder is most of the model, and its own average
        self.trained = torch.nn.ParameterList(p for p in self.model.parameters() if p.requires_grad)
        self.average = AveragedModel(self.trained, multi_avg_fn=get_ema_multi_avg_fn(1 - 1 / max(reach, 1)))
        self.add_callback(Average(self.average, self.trained))

    def training_step(self, model, inputs, *args):
        level = inputs["level"]  # noise is drawn where it is the same on every device
        noise = self.training.level_noise * torch.randn(level.shape, device="cpu").to(level.device)
        return super().training_step(model, self.train_dataset.with_levels(inputs, noise.exp()), *args)

    def get_batch_samples(self, *args):
        """Counts the labels that are to be learned, which are not the same number in each product."""
        samples, _ = super().get_batch_samples(*args)
        return samples, sum(_wanted(batch) for batch in samples)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """The share of a part of a step in the mean over all its labels."""
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True)
        if num_items_in_batch is not None:
            loss = loss * (_wanted(inputs) / num_items_in_batch)
        return (loss, outputs) if return_outputs else loss

    def evaluate(self, *args, **kwargs):
        own = copy.deepcopy(self.trained)
        self.take(self.average.module)
        try:
            return super().evaluate(*args, **kwargs)
        finally:
            self.take(own)

    def evaluation_loop(self, *args, **kwargs):
        """Keeps what was forecast at the weeks that are judged: see `judged`."""
        out = super().evaluation_loop(*args, **kwargs)
        at = ~np.isnan(out.label_ids).all((0, 1, 3))
        mean, dispersion = (x[:, :, at] for x in out.predictions)
        np.savez(judged(self.args.output_dir, round(self.state.epoch or 0)), mean=mean, dispersion=dispersion)
        return out

    @torch.no_grad()
    def take(self, weights) -> None:
        """Give the model these values of its trained weights."""
        for own, given in zip(self.trained, weights, strict=True):
            own.copy_(given)

    def _save_checkpoint(self, model, trial):
        super()._save_checkpoint(model, trial)
        torch.save(
            self.average.state_dict(), Path(self.args.output_dir, f"checkpoint-{self.state.global_step}", AVERAGE)
        )

    def _load_from_checkpoint(self, checkpoint, model=None):
        super()._load_from_checkpoint(checkpoint, model)
        self.average.load_state_dict(torch.load(Path(checkpoint, AVERAGE), weights_only=True))

    def create_optimizer(self):
        groups = {}
        for name, p in self.model.named_parameters():
            if not p.requires_grad:
                continue
            old = name.startswith(("layers.", "embeddings."))
            rate = (
                self.training.backbone_learning_rate if old and self.training.mode == "full" else self.training.learning_rate
            )
            decay = self.training.weight_decay if p.ndim > 1 else 0.0
            groups.setdefault((rate, decay), []).append(p)
        self.optimizer = torch.optim.AdamW(
            [{"params": ps, "lr": lr, "weight_decay": decay} for (lr, decay), ps in groups.items()]
        )
        return self.optimizer


def _wanted(batch: dict[str, torch.Tensor]) -> torch.Tensor:
    return (~batch["labels"].isnan()).sum()


class Average(TrainerCallback):
    """Takes each step's weights into their average."""

    def __init__(self, average: AveragedModel, trained: torch.nn.ParameterList):
        self.average, self.trained = average, trained

    def on_step_end(self, args, state, control, **kwargs):
        self.average.update_parameters(self.trained)


class StopAfter(TrainerCallback):
    """Ends a refit at the epoch that validation chose, on the schedule it was chosen on."""

    def __init__(self, epochs: int):
        self.epochs = epochs

    def on_epoch_end(self, args, state, control, **kwargs):
        control.should_training_stop |= round(state.epoch) >= self.epochs


class CompleteMark(TrainerCallback):
    """Signs a checkpoint once it is whole: a kill while one is being written leaves it without."""

    def on_save(self, args, state, control, **kwargs):
        Path(args.output_dir, f"checkpoint-{state.global_step}", SEAL).touch()


def judged(folder: str | Path, epoch: int) -> Path:
    """The file with what an epoch's weights forecast of the validation weeks: mean and dispersion, each (P, L, C, H)."""
    return Path(folder, f"judged_{epoch}.npz")


def last_whole_checkpoint(folder: Path) -> str | None:
    for checkpoint in folder.glob("checkpoint-*"):
        if not (checkpoint / SEAL).exists():
            shutil.rmtree(checkpoint)
    return get_last_checkpoint(str(folder)) if folder.exists() else None


def validation_wql(outputs) -> dict[str, float]:
    """WQL over every location, from a Trainer's (mean, dispersion) and labels; labels that are NaN are left out."""
    (mean, dispersion), y = outputs.predictions, outputs.label_ids
    wanted = ~np.isnan(y)
    return {"wql": count_wql(y[wanted], mean[wanted], dispersion[wanted])}

"""One training of one model by transformers' Trainer: averaged weights, augmented levels, small checkpoints."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch.optim.swa_utils import AveragedModel
from transformers import TrainerCallback
from transformers.trainer_utils import get_last_checkpoint
from transformers.utils import is_torch_bf16_gpu_available

from shelfcast.judge.distribution import count_wql
from shelfcast.model.adapters import ENCODER
from shelfcast.model_options import Training
from shelfcast.training.processes.trainer import SharedTrainer

COMPLETE = "complete"  # the empty file that marks a whole checkpoint
WEIGHTS, AVERAGE = "model.safetensors", "average.pt"


def check_precision(training: Training) -> None:
    """Raise a ValueError where bf16 is asked for and no hardware here multiplies such matrices."""
    if training.precision == "bf16" and not (is_torch_bf16_gpu_available() or _cpu_has_bf16()):
        raise ValueError("finetune.precision is 'bf16', which neither accelerator nor CPU has here. Choose 'fp32'.")


def _cpu_has_bf16() -> bool:
    has = torch.cpu.get_capabilities()
    return has.get("avx512_bf16", False) or has.get("amx_bf16", False)


class SalesTrainer(SharedTrainer):
    """A Trainer that averages weights, varies levels, hides plans, and checkpoints what is trained.

    The running average of the weights is what is judged and what comes out (Izmailov et al. 2018, SWA): the last step's
    weights moved the level of all forecasts at once. Under a constant learning rate it does what a decaying rate does
    elsewhere, without knowing beforehand when training ends. It reaches back over a share of the steps so far
    (polynomial-decay averaging, Shamir & Zhang 2013), so that short and long trainings need no setting of their own.
    """

    def __init__(self, training: Training, **kwargs):
        check_precision(training)
        self.training = training
        super().__init__(**kwargs)
        if self.eval_dataset is not None:
            self.judged_weeks = label_weeks(self.eval_dataset.tensors["labels"])
        # A frozen encoder is most of the model, and its own average.
        self.trained = torch.nn.ParameterList(p for p in self.model.parameters() if p.requires_grad)
        self.average = AveragedModel(self.trained, multi_avg_fn=_average_over(training.average))
        self.add_callback(WeightAverage(self.average, self.trained))

    def training_step(self, model, inputs, *args):
        draw, level = self.draws(inputs), inputs["level"]
        noise = self.training.level_noise * draw(torch.randn, level.shape).to(level.device)
        inputs = self.train_dataset.with_levels(inputs, noise.exp())
        if self.train_dataset.planned:
            n_products, _, n_weeks = level.shape
            hidden = draw(torch.rand, (n_products, 1, n_weeks, 1, 1)) < self.training.hide_plan
            inputs["plan"] = self.train_dataset.with_plan_hidden(inputs["plan"], hidden.to(level.device))
        return super().training_step(model, inputs, *args)

    def evaluate(self, *args, **kwargs):
        """Judge the averaged weights."""
        last = copy.deepcopy(self.trained)
        self.set_weights(self.average.module)
        try:
            return super().evaluate(*args, **kwargs)
        finally:
            self.set_weights(last)

    def prediction_step(self, model, inputs, prediction_loss_only, ignore_keys=None):
        """Forecast from the weeks that have labels, and from no others."""
        weeks = self.judged_weeks.to(inputs["labels"].device)
        inputs = inputs | {"labels": inputs["labels"][:, :, weeks], "at": weeks}
        return super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)

    def evaluation_loop(self, *args, **kwargs):
        """Keep the weights that are judged; see `judged_file`."""
        if self.args.should_save:
            self._write_weights(judged_file(self.args.output_dir, self.state.global_step))
        return super().evaluation_loop(*args, **kwargs)

    @torch.no_grad()
    def set_weights(self, weights) -> None:
        """Give the model these values of its trained weights."""
        for own, given in zip(self.trained, weights, strict=True):
            own.copy_(given)

    def _save(self, output_dir=None, state_dict=None):
        self._write_weights(Path(output_dir or self.args.output_dir, WEIGHTS))

    def _write_weights(self, path: Path) -> None:
        """Write weights that training changes and buffers; a frozen encoder would be most of the file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        frozen = {name for name, p in self.model.named_parameters() if not p.requires_grad}
        state = {name: x.contiguous() for name, x in self.model.state_dict().items() if name not in frozen}
        save_file(state, path)

    def _save_checkpoint(self, model, trial):
        super()._save_checkpoint(model, trial)
        if self.args.should_save:
            folder = Path(self.args.output_dir, f"checkpoint-{self.state.global_step}")
            torch.save(self.average.state_dict(), folder / AVERAGE)

    def _load_from_checkpoint(self, resume_from_checkpoint, model=None):
        self.model.load_state_dict(load_file(Path(resume_from_checkpoint, WEIGHTS)), strict=False)
        self.average.load_state_dict(torch.load(Path(resume_from_checkpoint, AVERAGE), weights_only=True))

    def create_optimizer(self, *args):
        """AdamW with a learning rate of its own for a trained encoder, and no decay on vectors."""
        groups: dict[tuple[float, float], list] = {}
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                full = name.startswith(ENCODER) and self.training.mode == "full"
                rate = self.training.backbone_learning_rate if full else self.training.learning_rate
                decay = self.training.weight_decay if parameter.ndim > 1 else 0.0
                groups.setdefault((rate, decay), []).append(parameter)
        options = [{"params": ps, "lr": rate, "weight_decay": decay} for (rate, decay), ps in groups.items()]
        self.optimizer = torch.optim.AdamW(options, fused=True)
        return self.optimizer


def label_weeks(labels: torch.Tensor) -> torch.Tensor:
    """Indices of the weeks in which any of the labels (P, L, T, H) is given."""
    return (~labels.isnan()).any(0).any(0).any(-1).nonzero()[:, 0]


def _average_over(share: float):
    """Weighs the newest weights by 1 / (share x steps so far)."""

    @torch.no_grad()
    def update(averaged, current, n_averaged) -> None:
        torch._foreach_lerp_(averaged, current, min(1.0, 1 / max(share * (float(n_averaged) + 1), 1.0)))

    return update


class WeightAverage(TrainerCallback):
    """Take each step's weights into their average."""

    def __init__(self, average: AveragedModel, trained: torch.nn.ParameterList):
        self.average, self.trained = average, trained

    def on_step_end(self, args, state, control, **kwargs):
        self.average.update_parameters(self.trained)


class CompleteMark(TrainerCallback):
    """Mark a checkpoint once it is whole: a kill while one is being written leaves it without the mark."""

    def on_save(self, args, state, control, **kwargs):
        if args.should_save:
            Path(args.output_dir, f"checkpoint-{state.global_step}", COMPLETE).touch()


def judged_file(folder: str | Path, step: int) -> Path:
    """The file with the averaged weights that were judged after a step."""
    return Path(folder, f"judged_{step}.safetensors")


def last_whole_checkpoint(folder: Path) -> str | None:
    """Remove checkpoints that a kill left unfinished, and return the last one that is whole."""
    for checkpoint in folder.glob("checkpoint-*"):
        if not (checkpoint / COMPLETE).exists():
            shutil.rmtree(checkpoint)
    return get_last_checkpoint(str(folder)) if folder.exists() else None


def validation_wql(outputs) -> dict[str, float]:
    """WQL over every location, from a Trainer's (mean, dispersion) and labels; NaN labels are left out."""
    (mean, dispersion), y = outputs.predictions, outputs.label_ids
    given = ~np.isnan(y)
    return {"wql": count_wql(y[given], mean[given], dispersion[given])}

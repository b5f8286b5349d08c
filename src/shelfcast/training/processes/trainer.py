"""A Trainer whose step is the same on any number of processes.

A step's loss is the mean over all its labels: of all processes, and of all batches that it adds up. Ranks hold
differing numbers of labels, so a mean of their means would be another loss.
"""

from __future__ import annotations

import torch
from accelerate.data_loader import prepare_data_loader
from accelerate.utils import broadcast_object_list
from torch.utils.data import DataLoader
from transformers import Trainer

from shelfcast.training.processes.share import ROW, Draws, Share, seed_process


class SharedTrainer(Trainer):
    """A Trainer of which each process trains on its part of every step; with one process, it has the whole."""

    loss_is_scaled_for_ga = True  # by `compute_loss`

    @property
    def shared(self) -> bool:
        """Whether there are several processes."""
        return self.args.world_size > 1

    def train(self, *args, **kwargs):
        if self.shared:
            seed_process(self.args.seed, self.args.process_index)
        return super().train(*args, **kwargs)

    def get_train_dataloader(self) -> DataLoader:
        """Batches of the whole step, in the order of one process, of which `Share` takes this process's part."""
        if not self.shared:
            return super().get_train_dataloader()
        loader = DataLoader(
            Share(self.train_dataset, self.args.process_index, self.args.world_size),
            batch_size=self.args.per_device_train_batch_size,
            sampler=self._get_train_sampler(),
            collate_fn=self.data_collator,
        )
        return prepare_data_loader(
            loader,
            device=self.args.device,
            num_processes=1,  # else accelerate would share batches out, and double products at the end of an epoch
            process_index=0,
            put_on_device=True,
            use_seedable_sampler=True,
            data_seed=self.args.data_seed,
        )

    def get_batch_samples(self, *args):
        """Count the labels of a step, of which products have different numbers."""
        samples, _ = super().get_batch_samples(*args)
        n_labels = torch.as_tensor(sum(_n_labels(batch) for batch in samples), device=self.args.device)
        self._n_parts = 0
        return samples, self.accelerator.reduce(n_labels, "sum") if self.shared else n_labels

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Weigh each part of a step by its labels, so that the parts add up to the whole step.

        Gradients are averaged over processes, which is undone here.
        """
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True)
        if num_items_in_batch is not None:
            loss = loss * (_n_labels(inputs) * self.args.world_size / num_items_in_batch)
        return (loss, outputs) if return_outputs else loss

    def draws(self, inputs: dict[str, torch.Tensor]) -> Draws:
        """What draws random numbers for a batch, out of which the places of its products are taken."""
        self._n_parts += 1
        rows, n = inputs.pop(ROW, None), self.args.per_device_train_batch_size
        return Draws(rows, n, self.args.seed, self.state.global_step, self._n_parts)

    def evaluation_loop(self, *args, **kwargs):
        """Judge together, and decide by the first process's scores: all must stop after the same step."""
        output = super().evaluation_loop(*args, **kwargs)
        if self.shared:
            output.metrics.update(broadcast_object_list([output.metrics])[0])
        return output

    def _save_checkpoint(self, model, trial):
        """A checkpoint holds the random numbers' state of each process; it is whole once all have written theirs."""
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()


def _n_labels(batch: dict[str, torch.Tensor]) -> torch.Tensor:
    return (~batch["labels"].isnan()).sum()

"""Which products of a step each process trains on, and what is drawn by chance for them.

All processes go through the batches of one process in the same order, and each takes its own part. So a step sees the
same products on any number of processes, and none of them twice at the end of an epoch.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from shelfcast.model.tensors import MarketTensors

ROW = "row"  # field with the place of a product in the whole batch


def own_part(n: int, rank: int, n_processes: int) -> slice:
    """The part of n items that belongs to a process: consecutive, with sizes that differ by one at most.

    Of 5 items on 2 processes, the first has items 0 to 2 and the second has 3 and 4. Of 1 item, the second has none.
    """
    least, more = divmod(n, n_processes)
    start = rank * least + min(rank, more)
    return slice(start, start + least + (rank < more))


class Share(torch.utils.data.Dataset):
    """A market of which batches hold one process's part.

    A part without a product is a product without labels, which has no weight: all processes must take each step.
    """

    def __init__(self, market: MarketTensors, rank: int, n_processes: int):
        self.market, self.rank, self.n_processes = market, rank, n_processes

    def __len__(self) -> int:
        return len(self.market)

    def __getitems__(self, batch: list[int]) -> list[dict[str, torch.Tensor]]:
        """The part of a batch of products, given by their indices; torch's DataLoader calls this."""
        rows = range(len(batch))[own_part(len(batch), self.rank, self.n_processes)]
        if not rows:
            item = self.market[batch[0]]
            return [item | {"labels": torch.full_like(item["labels"], torch.nan), ROW: torch.tensor(0)}]
        return [self.market[batch[row]] | {ROW: torch.tensor(row)} for row in rows]


class Draws:
    """Random numbers for the products of a batch, drawn on the CPU: the same for every device.

    One process draws from torch's own generator. Several draw for the whole batch from one that starts anew at each
    step, and each takes its rows: a product's numbers depend neither on who trains on it nor on interruptions.

    rows : places of the products in the whole batch of `n` products; None with one process.
    part : which of the batches that the step adds up.
    """

    def __init__(self, rows: torch.Tensor | None, n: int, seed: int, step: int, part: int):
        self.rows, self.n = rows, n
        state = np.random.SeedSequence([seed, step, part]).generate_state(1)[0]
        self.generator = None if rows is None else torch.Generator().manual_seed(int(state))

    def __call__(self, law: Callable, shape: tuple[int, ...]) -> torch.Tensor:
        """Numbers of the shape (B, …) by `law`: torch.rand or torch.randn."""
        if self.rows is None:
            return law(shape, device="cpu")
        return law((self.n, *shape[1:]), generator=self.generator, device="cpu")[self.rows.cpu()]


def seed_process(seed: int, rank: int) -> None:
    """Give a process random numbers of its own, for dropout: its products are others than those of the rest."""
    state = np.random.SeedSequence([seed, rank]).generate_state(1)[0]
    torch.manual_seed(int(state))

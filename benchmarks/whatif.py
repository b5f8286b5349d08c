"""Seconds of an answer on the what-if page.

    python benchmarks/whatif.py build/simulated [--variant shelfcast] [--questions 20]

Prints the median and the 90 % quantile of wall-clock and processor milliseconds: of the forecast alone for a price and for
a promotion (which also changes the category's other products), and of the whole answer with its picture. Seconds depend
on the machine and on what else it is doing.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from shelfcast.why.page.answer import Form, answer
from shelfcast.why.whatif.changes import PROMOTION, Change
from shelfcast.why.whatif.forecast import Ready, load

WARM_UP = 2  # questions that are not counted


def questions(ready: Ready) -> dict[str, Callable[[str], object]]:
    """Name -> what answers it for a product; those of tables that the retailer lacks are left out."""
    weeks = tuple(ready.plan.weeks)
    asked: dict[str, Callable[[str], object]] = {}
    if "price" in ready.plan.values:
        asked["price"] = lambda product: ready.ask([Change(product, "chain", weeks, price_factor=0.9)])
    if PROMOTION in ready.plan.values:
        asked["promotion"] = lambda product: ready.ask([Change(product, "chain", weeks, promotion={PROMOTION: 1.0})])
        asked["page"] = lambda product: answer(ready, Form(product, "chain", weeks, share="100"))
    return asked


def measure(ask: Callable[[str], object], products: list[str]) -> np.ndarray:
    """(products, 2) milliseconds of the clock and of the processor."""
    rows = []
    for product in products:
        wall, cpu = time.perf_counter(), time.process_time()
        ask(product)
        rows.append((time.perf_counter() - wall, time.process_time() - cpu))
    return 1000 * np.array(rows[WARM_UP:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="a market's, as build/<market>")
    parser.add_argument("--variant", default="shelfcast")
    parser.add_argument("--questions", type=int, default=20)
    options = parser.parse_args()
    ready = load(options.folder, options.variant)
    products = list(ready.plan.products[: options.questions + WARM_UP])
    for name, ask in questions(ready).items():
        (wall, cpu), (slow, _) = np.quantile(measure(ask, products), (0.5, 0.9), axis=0)
        print(f"{name}: median {wall:.0f} ms (processor {cpu:.0f} ms), 90 % within {slow:.0f} ms")


if __name__ == "__main__":
    main()

"""The service under load: events a second in batches, and seconds to one forecast that another process asks for meanwhile.

    python -m benchmarks.service [market] [--seconds 20] [--rate 5000] [--batch 500]

It starts the service of a market that was run (with an events' store of its own in a temporary folder), sends sales at
the rate from one process, asks for forecasts from a second one, and writes benchmarks/results/service.csv.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import httpx
import numpy as np
import pandas as pd

PORT = 8899
AT = f"http://127.0.0.1:{PORT}"
RESULTS = Path(__file__).parent / "results" / "service.csv"
START = 300  # seconds that the service may take to start


def batch_of(number: int, size: int, week: pd.Timestamp, products: list[str], stores: list[str]) -> list[dict]:
    """Sales with ids of their own."""
    draw = np.random.default_rng(number)
    events = []
    for i in range(size):
        at = week + pd.Timedelta(seconds=int(draw.integers(0, 7 * 86_400)))
        event = {
            "kind": "sale",
            "id": f"{number}-{i}",
            "timestamp": at.isoformat(),
            "quantity": 1.0,
            "sales_value": 2.0,
        }
        event |= {"product_id": products[draw.integers(len(products))], "store_id": stores[draw.integers(len(stores))]}
        events.append(event)
    return events


def send(bodies: list[bytes], rate: float, size: int) -> dict[str, float]:
    """Send the batches at a rate of events a second; a late one is sent at once."""
    seconds, began = [], time.perf_counter()
    with httpx.Client(base_url=AT, timeout=60) as client:
        for i, body in enumerate(bodies):
            time.sleep(max(0.0, began + i * size / rate - time.perf_counter()))
            sent = time.perf_counter()
            client.post("/events", content=body, headers={"Content-Type": "application/json"}).raise_for_status()
            seconds.append(time.perf_counter() - sent)
    spent = max(time.perf_counter() - began, len(bodies) * size / rate)
    return {"events_a_second": len(bodies) * size / spent, "batch_p99_seconds": float(np.quantile(seconds, 0.99))}


def ask(products: list[str], until: float) -> list[float]:
    """Seconds of each GET /forecast, one after the other, until a time of the clock."""
    seconds = []
    with httpx.Client(base_url=AT, timeout=60) as client:
        while time.time() < until:
            began = time.perf_counter()
            params = {"product_id": products[len(seconds) % len(products)]}
            client.get("/forecast", params=params).raise_for_status()
            seconds.append(time.perf_counter() - began)
            time.sleep(0.005)
    return seconds


def wait() -> None:
    """Until the service answers."""
    end = time.monotonic() + START
    while time.monotonic() < end:
        try:
            httpx.get(f"{AT}/health").raise_for_status()
            return
        except httpx.TransportError:
            time.sleep(0.2)
    raise SystemExit(f"error: the service did not answer within {START} seconds.")


def measure(market: str, root: Path, seconds: float, rate: float, size: int) -> dict:
    """One row of the results."""
    facts = json.loads((root / f"build/{market}/panel/panel.json").read_text())
    products = list(pd.read_parquet(root / f"build/{market}/panel/products.parquet").index)
    week = pd.Timestamp(facts["meta"]["last_week"]) + pd.Timedelta(weeks=1)
    stores, n = list(facts["meta"]["regions"]), max(1, round(seconds * rate / size))
    bodies = [json.dumps(batch_of(i, size, week, products, stores)).encode() for i in range(n)]
    with tempfile.TemporaryDirectory() as folder:
        env = os.environ | {"SHELFCAST_STORE_URL": f"sqlite:///{folder}/events.sqlite"}
        command = [sys.executable, "-m", "shelfcast.live.service", market, "--root", str(root), "--port", str(PORT)]
        service = subprocess.Popen(command, env=env)
        try:
            wait()
            with ProcessPoolExecutor(2, get_context("spawn")) as pool:
                asked = pool.submit(ask, products, time.time() + seconds)
                sent = pool.submit(send, bodies, rate, size).result()
                waited = asked.result()
        finally:
            service.terminate()
            service.wait(30)
    quantiles = {f"forecast_p{round(100 * q)}_seconds": float(np.quantile(waited, q)) for q in (0.5, 0.99)}
    facts = {"market": market, "cores": os.cpu_count(), "load": os.getloadavg()[0], "batch": size, "rate": rate}
    return facts | {"events": n * size} | sent | {"forecasts": len(waited)} | quantiles


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("market", nargs="?", default="soft_drinks")
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rate", type=float, default=5000)
    parser.add_argument("--batch", type=int, default=500)
    given = parser.parse_args()
    row = measure(given.market, given.root, given.seconds, given.rate, given.batch)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame([row]).round(4).to_csv(RESULTS, index=False)
    print(pd.Series(row).to_string())


if __name__ == "__main__":
    main()

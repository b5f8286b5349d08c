"""Numbers for Prometheus: requests, events, and the background work."""

from __future__ import annotations

import time

import pandas as pd
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from shelfcast.live.engine.engine import Engine

BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)  # seconds


class Metrics:
    """The service's numbers, in a registry of its own."""

    def __init__(self, engine: Engine):
        self.registry = CollectorRegistry()
        labels = ["method", "path"]
        self.requests = Counter("shelfcast_requests", "Requests answered.", [*labels, "status"], registry=self.registry)
        self.seconds = Histogram(
            "shelfcast_request_seconds", "Seconds to an answer.", labels, registry=self.registry, buckets=BUCKETS
        )
        self.events = Counter("shelfcast_events", "Events acknowledged.", ["outcome"], registry=self.registry)
        self.registry.register(OfEngine(engine))

    def text(self) -> bytes:
        return generate_latest(self.registry)


class OfEngine(Collector):
    """State of the engine at the moment it is asked."""

    def __init__(self, engine: Engine):
        self.engine = engine

    def collect(self):
        work, cutoff = self.engine.work, pd.Timestamp(self.engine.snapshot.facts.cutoff)
        numbers = {
            "cutoff_timestamp_seconds": ("Monday of the last week that forecasts have seen.", cutoff.timestamp()),
            "computing": ("1 while new forecasts are computed.", float(work.computing)),
            "failing": ("1 where the last computation failed and old forecasts are kept.", float(work.failing)),
            "computations_done": ("Computations that ended well since the start.", float(work.done)),
            "computations_failed": ("Computations that failed since the start.", float(work.failed)),
            "computation_seconds": ("Seconds of the last computation.", work.seconds),
        }
        for name, (meaning, value) in numbers.items():
            yield GaugeMetricFamily(f"shelfcast_{name}", meaning, value=value)


class Measured:
    """Counts every request by the path's pattern, its status and its seconds."""

    def __init__(self, app, metrics: Metrics):
        self.app, self.metrics = app, metrics

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def noted(message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self.app(scope, receive, noted)
        finally:
            path = getattr(scope.get("route"), "path", "other")
            method = scope["method"] if path != "other" else "other"
            self.metrics.requests.labels(method, path, str(status)).inc()
            self.metrics.seconds.labels(method, path).observe(time.perf_counter() - began)

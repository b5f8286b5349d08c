"""What pytest does before it reads tests: slow files first, one core a worker, and workers that start warm."""

import shelfcast  # noqa: F401  # isort: skip  # before torch: it sets how threads wait

import gc
import os

import pytest
import warm

# Files whose tests take more than a few seconds each, slowest first, so that no core waits for one of them at the end.
SLOW = [
    *("pipeline", "daily", "processes", "studies", "service_processes", "methods", "growth_real"),
    *("training", "scale_panels", "growth", "whatif_page", "market", "written_files", "axes", "service"),
    *("service_fuzz", "new_market", "trees", "state", "tables", "benchmarks", "categories", "features"),
    *("recommend", "explain", "scale_cluster", "tune", "dvc_given", "lost_units", "any_market", "orders"),
    *("ablation", "scale", "stockouts", "online", "adapters", "report_browser", "base", "scenes"),
    *("promotions", "causes", "evaluate", "service_state", "efficiency", "whatif_study", "whatif"),
    *("new_products", "explain_study", "engine", "any_retailer"),
]
# Files of many short tests, longest first.
LONG = ["checks", "panel", "model", "reading", "weekly", "zero_shot", "judge_calibration", "spellings"]
ORDER = [f"test_{name}" for name in [*SLOW, *LONG]]


def pytest_configure(config):
    """Workers share the cores, so each computes on one, as do the processes that it starts.

    OpenMP (torch, LightGBM), joblib and DuckDB read these; the last looks for the cores of a job under Slurm.
    """
    n_workers = config.getoption("numprocesses", None)
    if n_workers:
        os.environ.update(OMP_NUM_THREADS="1", LOKY_MAX_CPU_COUNT="1", SLURM_CPUS_ON_NODE="1")
    warm.start()
    if n_workers and warm.POSSIBLE:
        config.option.tx = [f"popen//python={warm.python()}"] * n_workers
    if not n_workers:  # with workers, this process reads no test and needs no library
        config.pluginmanager.import_plugin("small_retailer")


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.stem.removeprefix("test_") in SLOW:
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: ORDER.index(item.path.stem) if item.path.stem in ORDER else len(ORDER))


def pytest_collection_finish():
    """What was imported stays: no garbage collection walks through it again (transformers asks for one a training)."""
    gc.freeze()

"""The same retailers in earlier test windows: do 80 % ranges hold what they promise, where one window says little?

    python -m studies.retailers.earlier FOLDER [--weeks 8 16 …] [--only NAME …]

Eight weeks of eleven products are few, and what happens in one of them happens to all products. So tables are cut so
many weeks before their end, and notebooks 1, 3 and 4 run on what is left, as if it were all. A run that was stopped
continues.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd

from studies import parameters
from studies.kept import save_rows
from studies.retailers.retailers import RESULTS, Study, markets, prepare_work, run_market, scores

WORK = Path("build/studies/retailers_earlier")
DATES = {"transactions": "timestamp", "promotions": "week", "prices": "week", "behavior": "timestamp"}
WINDOWS = (8, 16, 24, 32)  # weeks, so that no test week is judged twice


def cut(folder: Path, to: Path, weeks: int) -> Path:
    """Write a retailer's tables to another folder, without the rows of the last weeks; tables without dates are whole.

    Raises
    ------
    ValueError : nothing would be left.
    """
    paths = {path.stem: path for path in [*folder.glob("*.parquet"), *folder.glob("*.csv")]}
    end = pd.to_datetime(read(paths["transactions"])["timestamp"]).max() - pd.Timedelta(weeks=weeks)
    to.mkdir(parents=True, exist_ok=True)
    for name, path in paths.items():
        table = read(path)
        if name in DATES:
            table = table[pd.to_datetime(table[DATES[name]]) <= end]
        if name == "transactions" and table.empty:
            raise ValueError(f"{path} holds no row up to {end:%Y-%m-%d}. Cut fewer weeks than {weeks}.")
        table.to_parquet(to / f"{name}.parquet", index=False)
    return to


def read(path: Path) -> pd.DataFrame:
    """A table as it is; ids of CSV files stay text."""
    return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, dtype=str)


def write(table: pd.DataFrame, retailer: str, weeks: int, to: Path = RESULTS) -> None:
    """`earlier.csv`: the scores of a retailer's window, beside those of other ones."""
    table = table.assign(retailer=retailer, weeks_earlier=weeks)
    save_rows(to / "earlier.csv", table, ["retailer", "weeks_earlier"])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="whose subfolders are retailers")
    parser.add_argument("--weeks", type=int, nargs="+", default=WINDOWS, help="by which tables end earlier")
    parser.add_argument("--only", nargs="*", help="names of retailers; all where none are given")
    options = parser.parse_args(arguments)
    study = parameters.load(Study, "retailers")
    whole = markets(Study(lines=study.lines), options.folder)
    if unknown := sorted(set(options.only or []) - set(whole)):
        raise ValueError(f"there is no retailer {unknown[0]!r}. Choose of {', '.join(whole)}.")
    windows = [(name, weeks) for name in options.only or whole for weeks in options.weeks]
    lines = {}
    for name, weeks in windows:
        tables = cut(Path(whole[name]["tables"]), WORK / "tables" / f"{name}_{weeks}", weeks)
        lines[f"{name}_{weeks}"] = whole[name] | {"tables": str(tables.resolve())}
    prepare_work(study, lines, WORK)
    for name, weeks in windows:
        run_market(f"{name}_{weeks}", WORK)
        write(scores(f"{name}_{weeks}", WORK), name, weeks)
        print(f"{name}, {weeks} weeks earlier: done", flush=True)


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        sys.exit(f"error: {error}")

"""Where partitions are worked on, and how their parts are kept: `run` and `parts`."""

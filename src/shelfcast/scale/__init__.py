"""Work in partitions: facts, panels and forecasts of more series than fit into memory, on this machine or on many."""

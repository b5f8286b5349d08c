"""Orders replayed on weeks that have passed: what policies would have cost, each fed by the forecasts of their time."""

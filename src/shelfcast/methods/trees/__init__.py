"""Boosted trees: `fitted` holds what is fitted and forecasts, `boosting` the settings and rounds."""

from shelfcast.methods.trees.fitted import DISPERSION_BINS, Trees, fit, lightgbm_counts

__all__ = ["DISPERSION_BINS", "Trees", "fit", "lightgbm_counts"]

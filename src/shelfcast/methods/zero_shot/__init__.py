"""Time-series models that others pretrained: `forecasts` makes forecast frames, `short_context` runs the network."""

from shelfcast.methods.zero_shot.forecasts import fracast

__all__ = ["fracast"]

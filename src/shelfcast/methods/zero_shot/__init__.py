"""Time-series models that others pretrained: `forecasts` makes forecast frames, `short_context` runs the network.

`outlook` makes forecasts from every week, which other models read.
"""

from shelfcast.methods.zero_shot.forecasts import fracast
from shelfcast.methods.zero_shot.outlook import with_outlook, with_outlook_at

__all__ = ["fracast", "with_outlook", "with_outlook_at"]

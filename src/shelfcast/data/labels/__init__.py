"""Human names of categories and products, from what a retailer's tables hold.

They are for people alone: what a model reads of a product is `text`, which `panel.build` writes and nothing here changes.
"""

from shelfcast.data.labels.apart import product_labels as product_labels
from shelfcast.data.labels.single import category_label as category_label
from shelfcast.data.labels.single import product_label as product_label

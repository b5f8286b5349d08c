"""The base: a model of many categories, from which markets of the same tables start.

`join` makes one market of the categories, `training.fit.pretrain` trains on it, `store` writes and reads what results.
"""

from shelfcast.training.base.store import FACTS as FACTS
from shelfcast.training.base.store import WEIGHTS as WEIGHTS
from shelfcast.training.base.store import Base as Base
from shelfcast.training.base.store import facts as facts
from shelfcast.training.base.store import fingerprint as fingerprint
from shelfcast.training.base.store import input_columns as input_columns
from shelfcast.training.base.store import new_model as new_model
from shelfcast.training.base.store import new_parts as new_parts
from shelfcast.training.base.store import regions_md5 as regions_md5
from shelfcast.training.base.store import save_base as save_base

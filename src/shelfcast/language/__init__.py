"""The language that sentences, headings and figures are written in: English, or a catalogue's (see docs/language.md).

English is the source: a message is looked up in the GNU gettext catalogue `<code>/LC_MESSAGES/shelfcast.po` of the
language that is in use, and stays English where no language is. Notebooks 5, 7 and 8 call `use` with `report.language`.
"""

from shelfcast.language.active import N_ as N_
from shelfcast.language.active import TAGS as TAGS
from shelfcast.language.active import _ as _
from shelfcast.language.active import code as code
from shelfcast.language.active import is_reworded as is_reworded
from shelfcast.language.active import last_day as last_day
from shelfcast.language.active import ngettext as ngettext
from shelfcast.language.active import period_days as period_days
from shelfcast.language.active import periods as periods
from shelfcast.language.active import pgettext as pgettext
from shelfcast.language.active import tag as tag
from shelfcast.language.active import use as use
from shelfcast.language.active import using as using
from shelfcast.language.write import day as day
from shelfcast.language.write import is_unspaced as is_unspaced
from shelfcast.language.write import items as items
from shelfcast.language.write import joined as joined
from shelfcast.language.write import listed as listed
from shelfcast.language.write import month as month
from shelfcast.language.write import sentences as sentences
from shelfcast.language.write import short_day as short_day

"""Orders in plain sentences."""

from shelfcast.act.orders.words.now import nothing_to_order as nothing_to_order
from shelfcast.act.orders.words.now import target as target
from shelfcast.act.orders.words.now import what_to_order as what_to_order
from shelfcast.act.orders.words.past import AIMS as AIMS
from shelfcast.act.orders.words.past import aims as aims
from shelfcast.act.orders.words.past import how_it_went as how_it_went
from shelfcast.act.orders.words.past import policy_name as policy_name
from shelfcast.act.orders.words.past import stock_outs as stock_outs

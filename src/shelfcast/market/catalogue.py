"""What the simulated market sells, and where: its products with their texts and pictures, and its stores."""

from __future__ import annotations

from collections import namedtuple

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from shelfcast.market.laws import LAW
from shelfcast.settings import Simulation

ALWAYS = -999  # launch week of a product that was there before the first week


# Effects are on log demand. appeal: at all times; season: height of the year's wave; peak: its week; promotion, display:
# responses to a mailer, to a display; city: further appeal in the city. price: times the usual one.
Family = namedtuple("Family", "words appeal season peak")
Claim = namedtuple("Claim", "wordings appeal promotion city")
Pattern = namedtuple("Pattern", "appeal display")
Colour = namedtuple("Colour", "appeal rgb")
Brand = namedtuple("Brand", "appeal price elasticity")
Pack = namedtuple("Pack", "litres appeal")

# Seen in the text alone
FAMILIES = {
    "citrus": Family(["lemon", "lime", "grapefruit", "tangerine", "yuzu", "bitter orange"], 0.45, 0.35, 28),
    "berry": Family(["strawberry", "raspberry", "blueberry", "blackcurrant", "cranberry", "cherry"], 0.2, 0.15, 26),
    "tropical": Family(["mango", "pineapple", "passion fruit", "guava", "coconut", "papaya"], -0.2, 0.45, 30),
    "cola": Family(["cola", "caramel cola", "vanilla cola", "kola nut", "cherry cola", "dark cola"], 0.7, 0.0, 0),
    "herbal": Family(["mint", "ginger", "elderflower", "lemongrass", "rosemary", "basil"], -0.7, 0.0, 0),
    "spiced": Family(
        ["cinnamon", "apple spice", "cardamom", "winter punch", "clove orange", "gingerbread"], -0.45, 0.45, 51
    ),
}
CLAIMS = {
    "sugar_free": Claim(["sugar free", "zero sugar", "unsweetened", "no sugar added"], 0.1, 1.0, 0.25),
    "organic": Claim(
        ["organic", "from organic farming", "certified organic", "grown without pesticides"], -0.25, 0.6, 0.5
    ),
    "party": Claim(["party size", "for the whole family", "family value", "great for sharing"], 0.25, 1.5, -0.35),
    "classic": Claim(["classic", "the original", "traditional recipe", "our old favourite"], 0.0, 1.0, 0.0),
}
# Seen in the picture alone
PATTERNS = {
    "plain": Pattern(-0.5, 0.6),
    "stripes": Pattern(-0.1, 1.2),
    "dots": Pattern(0.2, 0.9),
    "star": Pattern(0.4, 1.5),
}
COLOURS = {
    "red": Colour(0.25, (205, 40, 45)),
    "amber": Colour(0.1, (235, 160, 35)),
    "green": Colour(-0.1, (40, 150, 75)),
    "blue": Colour(-0.25, (40, 80, 180)),
}
# Seen in tidy columns
BRANDS = {
    "Alder": Brand(0.3, 1.15, -1.6),
    "Brook & Vale": Brand(0.1, 1.0, -2.0),
    "Corvo": Brand(-0.1, 1.25, -1.5),
    "Dune": Brand(0.0, 0.95, -2.2),
    "Everyday": Brand(0.35, 0.7, -2.6),
    "Finch": Brand(-0.4, 1.05, -2.0),
    "Grove": Brand(-0.25, 0.9, -2.3),
}
KINDS = {"sparkling water": -0.1, "lemonade": 0.25, "iced tea": 0.0, "juice drink": -0.15}  # appeal
PACKS = {
    "330 ml": Pack(0.33, -0.1),
    "500 ml": Pack(0.5, 0.1),
    "1 l": Pack(1.0, 0.15),
    "6 x 330 ml": Pack(1.98, -0.15),
}
ATTRIBUTES = dict(family=FAMILIES, claim=CLAIMS, pattern=PATTERNS, colour=COLOURS, brand=BRANDS, kind=KINDS, pack=PACKS)
FORMATS = {"small": 0.5, "medium": 1.0, "large": 2.0}  # a store's sales against a medium one's

PALE = (250, 248, 240)  # of a pattern


def draw_products(rng: np.random.Generator, simulation: Simulation) -> pd.DataFrame:
    """Attributes and true effects, one row per product; `launch` is the number of a week, or `ALWAYS`."""
    n, n_weeks = simulation.n_products, simulation.n_weeks
    # each value of an attribute is about equally frequent
    columns = {name: rng.permutation(np.resize(list(values), n)) for name, values in ATTRIBUTES.items()}
    frame = pd.DataFrame(columns)
    is_new = np.arange(n) >= n - simulation.n_new
    late = rng.random(n) < 0.5  # half of the new products are launched in weeks that no method is fitted to
    launch = np.where(late, rng.integers(n_weeks - 16, n_weeks - 1, n), rng.integers(26, n_weeks - 16, n))
    # A third of a family's words name new products alone: only language says what they mean.
    word_numbers = rng.integers(0, np.where(is_new, 6, 4))
    wording_numbers = rng.integers(0, 4, n)
    words = [FAMILIES[family].words[k] for family, k in zip(frame["family"], word_numbers, strict=True)]
    wordings = [CLAIMS[claim].wordings[k] for claim, k in zip(frame["claim"], wording_numbers, strict=True)]
    frame = frame.assign(
        **_effects(frame, rng),
        launch=np.where(is_new, launch, ALWAYS),
        list_price=_list_price(frame),
    )
    parts = zip(frame["brand"], words, frame["kind"], wordings, frame["pack"], strict=True)
    frame["name"] = [f"{brand} {word} {kind}, {wording}, {pack}" for brand, word, kind, wording, pack in parts]
    frame["product_id"] = [f"P{k:04d}" for k in rng.permutation(n) + 1]
    return frame


def _effects(frame: pd.DataFrame, rng: np.random.Generator) -> dict[str, pd.Series | np.ndarray]:
    """True effects on log demand by where they can be read: in the text, the picture, tidy columns, or nowhere."""

    def effect(attribute: str, name: str) -> pd.Series:
        return frame[attribute].map(lambda value: getattr(ATTRIBUTES[attribute][value], name))

    return {
        "text_appeal": effect("family", "appeal") + effect("claim", "appeal"),
        "text_season": effect("family", "season"),
        "text_peak": effect("family", "peak"),
        "text_promotion": effect("claim", "promotion"),
        "text_city": effect("claim", "city"),
        "picture_appeal": effect("pattern", "appeal") + effect("colour", "appeal"),
        "picture_display": effect("pattern", "display"),
        "tidy_appeal": effect("brand", "appeal") + frame["kind"].map(KINDS) + effect("pack", "appeal"),
        "own_appeal": rng.normal(0, LAW.own_appeal_sd, len(frame)),
        "elasticity": effect("brand", "elasticity"),
    }


def _list_price(frame: pd.DataFrame) -> pd.Series:
    litres = frame["pack"].map(lambda pack: PACKS[pack].litres)
    price = 1.9 * litres**0.8 * frame["brand"].map(lambda brand: BRANDS[brand].price)
    return (price / 0.05).round() * 0.05


def draw_stores(rng: np.random.Generator, simulation: Simulation) -> pd.DataFrame:
    """Position on a map of side 1, area, format and true size of each store."""
    n = simulation.n_stores
    position = rng.random((n, 2))
    from_centre = np.hypot(*(position - 0.5).T)
    rings = [from_centre < np.quantile(from_centre, 0.3), from_centre < np.quantile(from_centre, 0.65)]
    formats = rng.permutation(np.resize(list(FORMATS), n))
    size = np.array([FORMATS[name] for name in formats]) * np.exp(rng.normal(0, 0.15, n))
    frame = pd.DataFrame({"x": position[:, 0], "y": position[:, 1]})
    frame = frame.assign(area=np.select(rings, ["city", "suburb"], "country"), format=formats, size=size)
    return frame.assign(
        store_id=[f"S{k:02d}" for k in range(1, n + 1)],
        latitude=(41 + 0.27 * frame["y"]).round(4),
        longitude=(-88 + 0.36 * frame["x"]).round(4),
    )


def draw_picture(pattern: str, colour: str, pack: str, rng: np.random.Generator, side: int = 128) -> Image.Image:
    """A pack on a shelf: its shape follows the pack, its looks pattern and colour; position and light are random."""
    grey = int(rng.integers(200, 245))
    image = Image.new("RGB", (side, side), (grey, grey, grey - 6))
    pen = ImageDraw.Draw(image)
    tall, wide = {"330 ml": (0.6, 0.32), "500 ml": (0.72, 0.26), "1 l": (0.86, 0.32)}.get(pack, (0.56, 0.74))
    tall, wide = (share * side * rng.uniform(0.92, 1.05) for share in (tall, wide))
    x, y = side / 2 + rng.normal(0, 3), side / 2 + rng.normal(0, 3)
    light = rng.uniform(0.8, 1.15)
    ink = tuple(int(min(255, max(0, channel * light + rng.normal(0, 6)))) for channel in COLOURS[colour].rgb)
    box = x - wide / 2, y - tall / 2, x + wide / 2, y + tall / 2
    pen.rounded_rectangle(box, radius=side * 0.06, fill=ink, outline=(90, 90, 90))
    _draw_pattern(pen, pattern, (x, y), wide, tall)
    noise = rng.normal(0, 5, (side, side, 3))
    return Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))


def _draw_pattern(
    pen: ImageDraw.ImageDraw, pattern: str, centre: tuple[float, float], wide: float, tall: float
) -> None:
    x, y = centre
    left, top, right, bottom = x - wide / 2, y - tall / 2, x + wide / 2, y + tall / 2
    if pattern == "stripes":
        for height in np.arange(top + tall * 0.15, bottom - tall * 0.1, tall * 0.2):
            pen.rectangle((left + 1, height, right - 1, height + tall * 0.09), fill=PALE)
    elif pattern == "dots":
        for row, height in enumerate(np.arange(top + tall * 0.14, bottom - tall * 0.06, tall * 0.17)):
            start = left + wide * (0.2 if row % 2 else 0.35)
            for across in np.arange(start, right - wide * 0.08, wide * 0.3):
                pen.ellipse((across - 4, height - 4, across + 4, height + 4), fill=PALE)
    elif pattern == "star":
        turn = np.arange(10) * np.pi / 5 - np.pi / 2
        length = np.where(np.arange(10) % 2, 0.4, 1.0) * (min(wide, tall) * 0.42)
        corners = zip(x + length * np.cos(turn), y + length * np.sin(turn), strict=True)
        pen.polygon(list(corners), fill=PALE)

"""Letters of figures: which fonts measure them on this machine, and which draw them on the reader's.

An SVG holds its text as text, so fonts here only measure, for the layout. DejaVu Sans has no Chinese letters, and a
Chinese font may or may not be on a machine. Its letters are all as wide as they are high, so a font that has nothing
but that width, made on the fly, measures them as well as any, and figures are the same on all machines.
"""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from fontTools.fontBuilder import FontBuilder
from fontTools.ttLib.tables._g_l_y_f import Glyph
from matplotlib import font_manager

LATIN, WIDE = "DejaVu Sans", "Shelfcast Wide"  # the first comes with matplotlib
CHINESE = (
    "'Noto Sans CJK SC', 'Noto Sans SC', 'PingFang SC', 'Microsoft YaHei', 'Hiragino Sans GB', 'WenQuanYi Micro Hei'"
)
BLOCKS = (range(0x3000, 0x3040), range(0x4E00, 0xA000), range(0xFF00, 0xFFF0))  # marks, letters, wide forms


def font_families(language: str) -> list[str]:
    """The fonts that matplotlib measures text with."""
    return [LATIN] if language == "en" else [LATIN, _wide_font()[0]]


@cache
def _wide_font() -> tuple[str, tempfile.TemporaryDirectory]:
    """Make the font of wide blanks known to matplotlib; its name, and the folder that lives as long as the process."""
    folder = tempfile.TemporaryDirectory(prefix="shelfcast_font_")
    for style, weight in (("Regular", 400), ("Bold", 700)):
        path = Path(folder.name) / f"{style}.ttf"
        _write_font(path, style, weight)
        font_manager.fontManager.addfont(path)
    return WIDE, folder


def _write_font(path: Path, style: str, weight: int) -> None:
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "wide"])
    builder.setupCharacterMap({letter: "wide" for block in BLOCKS for letter in block})
    builder.setupGlyf({".notdef": Glyph(), "wide": Glyph()})
    builder.setupHorizontalMetrics({".notdef": (1000, 0), "wide": (1000, 0)})
    builder.setupHorizontalHeader(ascent=880, descent=-120)
    builder.setupNameTable({"familyName": WIDE, "styleName": style})
    builder.setupOS2(sTypoAscender=880, usWinAscent=880, usWinDescent=120, usWeightClass=weight)
    builder.setupPost()
    builder.save(path)

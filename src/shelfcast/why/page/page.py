"""The what-if page: fields that ask, a fan that moves. Voilà serves it from notebooks/whatif.ipynb."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

import ipywidgets as widgets

from shelfcast.why.page.answer import (
    Answer,
    Form,
    answer,
    channel_names,
    location_names,
    product_names,
    week_names,
)
from shelfcast.why.page.background import Background
from shelfcast.why.whatif.anchor import Anchor
from shelfcast.why.whatif.forecast import Ready

STYLE = """<style>
.whatif-refused {background: #fdf0e6; border-left: 4px solid #d55e00; color: #1d2733; padding: .5em .8em}
.whatif figure {margin: 0} .whatif h3 {font-size: 1.05em; margin: .2em 0 .4em} .whatif img {max-width: 100%}
</style>"""
LABELS = {"description_width": "6.5em"}
Explain = Callable[[Form, Answer], str]


class Page:
    """Fields, the picture, a sentence, and what explains the forecast beside it.

    Parameters
    ----------
    anchor : to an estimate of causes, on which people may let the answer lean; there is no switch where there is none.
    anchored : whether the answer leans on it at first.
    explain : HTML of what made the forecast, shown beside it once it is there: the fan does not wait for it.
    """

    def __init__(
        self, ready: Ready, anchor: Anchor | None = None, explain: Explain | None = None, anchored: bool = False
    ):
        self.ready, self.anchor = ready, anchor
        self.fields = _fields(ready)
        self.switch = widgets.Checkbox(value=anchored, description="lean on estimated effects", indent=False)
        self.switch.add_class("whatif-switch")
        self.picture, self.sentence, self.alert, self.beside = (
            widgets.HTML(layout=widgets.Layout(width=width)) for width in ("100%", "100%", "100%", "34em")
        )
        for name in ("picture", "sentence", "alert", "beside"):
            getattr(self, name).add_class(f"whatif-{name}")
        self.background = None if explain is None else Background(explain, self._show_beside)
        switches = [] if anchor is None else [self.switch]
        for field in (*self.fields.values(), *switches):
            field.observe(lambda _: self.update(), names="value")
        column = widgets.VBox([*self.fields.values(), *switches, self.alert], layout=widgets.Layout(width="24em"))
        shown = widgets.VBox([self.picture, self.sentence], layout=widgets.Layout(width="36em"))
        self.widget = widgets.VBox([widgets.HTML(STYLE), widgets.HBox([column, shown, self.beside])])
        self.widget.add_class("whatif")
        self.update()

    @property
    def form(self) -> Form:
        return Form(**{name: field.value for name, field in self.fields.items()})

    def update(self) -> None:
        """Answer what the fields ask; what cannot be answered gets a sentence, and the picture stays."""
        form = self.form
        try:
            said = answer(self.ready, form, self.anchor if self.switch.value else None)
        except ValueError as error:
            text = str(error)
            self.alert.value = f"<div class='whatif-refused' role='alert'>{escape(text[:1].upper() + text[1:])}</div>"
            return
        self.alert.value = ""
        self.picture.value, self.sentence.value = said.picture, f"<p>{said.sentence}</p>"
        if self.background is not None:
            self.background.ask(form, said)

    def _show_beside(self, text: str) -> None:
        self.beside.value = text


def _fields(ready: Ready) -> dict[str, widgets.Widget]:
    """Field of a form -> widget; those of a plan that the retailer has no table of are left out."""
    fields: dict[str, widgets.Widget] = {
        "product": _choice("Product", product_names(ready)),
        "location": _choice("Region", location_names(ready)),
        "weeks": _choice("Weeks", week_names(ready)),
    }
    if "price" in ready.plan.values:
        fields["price"] = _text("Price", "as planned")
    if names := channel_names(ready):
        fields["channel"] = _choice("Promotion", names)
        fields["share"] = _text("% of stores", "as planned")
    for name, field in fields.items():
        field.add_class(f"whatif-{name}")
    return fields


def _choice(label: str, options: dict) -> widgets.Dropdown:
    return widgets.Dropdown(options=list(options.items()), description=label, style=LABELS)


def _text(label: str, empty: str) -> widgets.Text:
    return widgets.Text(description=label, placeholder=empty, continuous_update=False, style=LABELS)

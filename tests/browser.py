"""A written page in a real browser: what is wrong with it, at three widths and in print."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
WIDTHS = (1200, 768, 390)  # pixels: a desk, a tablet, a phone
PAPER = 718  # pixels between the margins of an A4 page
PATIENCE = 240_000  # milliseconds on a busy machine
SERIOUS = ("serious", "critical")  # impacts of axe's findings

NO_ALTERNATIVE = """() => [...document.images].filter((image) => !image.alt.trim()).length
  + [...document.querySelectorAll("svg")].filter((svg) => svg.ariaHidden !== "true" && !svg.querySelector("title")).length"""
PRINTED = """() => {
  const style = (element) => getComputedStyle(element);
  const every = (selector, rule) => [...document.querySelectorAll(selector)].every(rule);
  return {
    "a search field or the navigation is printed": every("input, nav", (box) => style(box).display === "none"),
    "a picture or row may be cut in two": every("figure, tr", (box) => style(box).breakInside === "avoid"),
    "a table's head is not repeated": every("thead", (head) => style(head).display === "table-header-group"
      && [...head.querySelectorAll("button")].every((button) => style(button).display === "contents")),
    "a table is cut off": every(".scroll", (box) => box.scrollHeight <= box.clientHeight + 1),
    "folded text is not printed": every("details", (part) => part.open),
    "a heading may stand alone": every("h2, h3", (head) => style(head).breakAfter === "avoid"),
  };
}"""


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()


def faults(browser: Browser, path: Path, widths: tuple[int, ...] = WIDTHS) -> list[str]:
    """Everything that is wrong with a page, in words: empty where all is well."""
    found = []
    for width in widths:
        with opened(browser, path, width) as (page, heard):
            found += [*heard, *_on_screen(page, width)]
            if width == widths[0]:
                found += _in_print(page)
    return found


@contextmanager
def opened(browser: Browser, path: Path, width: int) -> Iterator[tuple[Page, list[str]]]:
    """The page at a width, and the errors and requests heard while it loaded."""
    page, heard = browser.new_page(viewport={"width": width, "height": 900}), []
    page.set_default_timeout(PATIENCE)
    address = path.resolve().as_uri()
    page.on("console", lambda said: heard.append(f"console: {said.text}") if said.type == "error" else None)
    page.on("pageerror", lambda error: heard.append(f"console: {error}"))
    page.on(
        "request",
        lambda asked: None if asked.url.startswith((address, "data:")) else heard.append(f"request: {asked.url}"),
    )
    page.goto(address)
    yield page, heard
    page.close()


def column(page: Page, table: str, i: int) -> list[str]:
    """Text of the i-th cells of a table's rows that are shown, in their order."""
    rows = f"{table} tbody tr:not([hidden])"
    return page.eval_on_selector_all(rows, f"rows => rows.map((row) => row.cells[{i}].textContent.trim())")


def _on_screen(page: Page, width: int) -> list[str]:
    found = []
    wide = page.evaluate("document.documentElement.scrollWidth")
    if wide > width:
        found.append(f"width: the page is {wide} pixels wide on a screen of {width}")
    if n := page.evaluate(NO_ALTERNATIVE):
        found.append(f"alternative: {n} pictures have no alternative text")
    for finding in Axe().run(page).response["violations"]:
        if finding["impact"] in SERIOUS:
            found.append(f"axe: {finding['id']} at {width}: {finding['nodes'][0]['html'][:120]}")
    return found


def _in_print(page: Page) -> list[str]:
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.set_viewport_size({"width": PAPER, "height": 1000})
    found = [f"print: {fault}" for fault, well in page.evaluate(PRINTED).items() if not well]
    wide = page.evaluate("document.documentElement.scrollWidth")
    if wide > PAPER:
        found.append(f"print: the page is {wide} pixels wide on paper of {PAPER}")
    if not page.pdf(format="A4").startswith(b"%PDF"):
        found.append("print: no PDF could be made")
    return found

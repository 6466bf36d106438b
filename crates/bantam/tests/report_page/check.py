"""Opens pages of reports in Chromium as a reader would: `python check.py CHROMIUM FOLDER`.

FOLDER holds full.html, least.html, empty.html and hostile.html, pages of the reports of sample.py. Screenshots and a
print are left beside them. Needs the package playwright; the browser is the system's.
"""

import json
import re
import shutil
import sys
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

WIDTHS = (1400, 400)
THEMES = ("light", "dark")
SECTIONS = [
    "candidates",
    "alternatives",
    "layers",
    "histograms",
    "size",
    "latency",
    "robustness",
    "time",
    "repeat",
]


class Page:
    """A page in a browser, whose complaints are kept."""

    def __init__(self, browser, path, width, theme):
        self.context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
        self.page = self.context.new_page()
        self.complaints, self.requests = [], []
        self.page.on(
            "console",
            lambda message: (
                self.complaints.append(message.text) if message.type in ("error", "warning") else None
            ),
        )
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())
        self.name = f"{path.stem}-{width}-{theme}"

    def check(self, fact, what):
        assert fact, f"{self.name}: {what}"

    def close(self):
        self.check(not self.complaints, f"the browser complains: {self.complaints}")
        outside = [url for url in self.requests[1:] if not url.startswith("blob:")]
        self.check(not outside, f"the page loads {outside}")
        self.context.close()

    def sections(self):
        return self.page.eval_on_selector_all("main section", "all => all.map((one) => one.id)")

    def check_width(self):
        wide = self.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        self.check(wide[0] <= wide[1], f"scrolls sideways: {wide[0]} of {wide[1]} pixels")

    def check_charts(self):
        """Each chart has something drawn on it."""
        blank = self.page.evaluate("""() => {
            const copy = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
            return [...document.querySelectorAll("canvas")].filter((canvas) => {
                if (!canvas.width || !canvas.height) return true;
                [copy.canvas.width, copy.canvas.height] = [canvas.width, canvas.height];
                copy.drawImage(canvas, 0, 0);
                return !copy.getImageData(0, 0, canvas.width, canvas.height).data.some((value) => value);
            }).map((canvas) => canvas.getAttribute("aria-label"));
        }""")
        self.check(not blank, f"empty charts: {blank}")

    def shoot(self, folder):
        self.page.screenshot(path=folder / f"{self.name}.png", full_page=True)


def check_full(browser, folder, width, theme):
    report = json.loads((folder / "full.json").read_text(encoding="utf-8"))
    opened = Page(browser, folder / "full.html", width, theme)
    opened.check(opened.sections() == SECTIONS, f"sections are {opened.sections()}")
    opened.check_width()
    opened.check_charts()
    opened.shoot(folder)
    check_candidates(opened, report)
    check_tables(opened, report)
    check_controls(opened)
    check_theme(opened, theme)
    opened.check_width()
    opened.check_charts()
    opened.close()


def expect_candidate(opened, name):
    """The details are those of this candidate, once the browser has handled what was done."""
    expect(opened.page.locator("#candidate h3 .name")).to_have_text(name, timeout=20_000)


def check_candidates(opened, report):
    """The chosen one is shown at first; others by a click on the mark, by keys and by the tables."""
    page = opened.page
    candidates = report["candidates"]
    expect_candidate(opened, next(one["name"] for one in candidates if one["chosen"]))
    canvas = page.locator(".plot.front canvas")
    canvas.scroll_into_view_if_needed()
    at = page.evaluate("""() => {
        const chart = Chart.getChart(document.querySelector(".plot.front canvas"));
        const series = chart.data.datasets.findIndex(({ label }) => label === "float");
        const { x, y } = chart.getDatasetMeta(series).data[0];
        return { x, y };
    }""")
    canvas.click(position=at)
    expect_candidate(opened, "float")
    opened.check("3.43" in page.inner_text("#candidate"), "the details lack the size")
    canvas.focus()
    # The plot leaves out what is far from the budget, and has its marks by size: the float network is the last.
    page.keyboard.press("Home")
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    by_size = sorted(candidates, key=lambda one: one["bytes"])
    expect_candidate(opened, by_size[-2]["name"])
    labels = page.evaluate("Chart.getChart(document.querySelector('#candidate canvas')).data.labels.length")
    opened.check(labels == len(report["layers"]), f"{labels} layers of the candidate")
    page.click("#candidates summary")
    page.click(f"#candidates table button.link >> text='{candidates[3]['name']}'")
    expect_candidate(opened, candidates[3]["name"])
    page.click("#candidates summary")
    page.click("#alternatives tbody tr:nth-child(2) button.link")
    other = next(one for one in report["alternatives"] if one["kind"] == "quantize")["candidate"]
    expect_candidate(opened, candidates[other]["name"])


def check_tables(opened, report):
    """The columns of layers sort in both directions."""
    page = opened.page
    head = page.locator("#layers thead th", has_text="MACs")
    first = lambda: page.inner_text("#layers tbody tr:first-child th")
    head.locator("button").click()
    most = max(report["layers"], key=lambda row: row["macs_after"])
    opened.check(head.get_attribute("aria-sort") == "descending", "sorting is not said")
    opened.check(first() == most["name"], f"most MACs: {first()}")
    head.locator("button").click()
    fewest = min(report["layers"], key=lambda row: row["macs_after"])
    opened.check(first() == fewest["name"], f"fewest MACs: {first()}")


def check_controls(opened):
    """Every choice can be made, and leaves a chart that shows something."""
    page = opened.page
    for label in page.locator("fieldset.choice label").all():
        label.click()
        opened.check_charts()
    for box in page.locator("label.checkbox input").all():
        box.click()
    page.locator("#histograms select").select_option(index=3)
    for button in page.locator(".legend button").all():
        button.click()
        button.click()
    page.locator("#repeat .copy").first.click()
    expect(page.locator("#announcer")).to_contain_text(
        re.compile("^command: (Copied|Selected)$"), timeout=20_000
    )
    opened.check(
        page.locator("#repeat .code code").first.inner_text().startswith("bantam compress "),
        "the command is not there",
    )


def check_theme(opened, theme):
    """The switch changes the page's and the charts' colours."""
    paper = lambda: opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
    before = paper()
    opened.check((before == "rgb(255, 255, 255)") == (theme == "light"), f"{theme} has {before}")
    opened.page.click("#theme")
    opened.check(paper() != before, "the theme does not switch")
    opened.page.click("#theme")
    opened.check(paper() == before, "the theme does not switch back")


def check_partial(browser, folder, width):
    opened = Page(browser, folder / "least.html", width, "light")
    opened.check(opened.sections() == ["repeat"], f"sections are {opened.sections()}")
    opened.check("Outside the budget" in opened.page.inner_text("main"), "the verdict is not there")
    opened.check("8.420" in opened.page.inner_text(".tiles"), "the perplexity is not there")
    opened.check_width()
    opened.shoot(folder)
    opened.close()
    opened = Page(browser, folder / "empty.html", width, "dark")
    opened.check(opened.sections() == [], f"sections are {opened.sections()}")
    opened.check_width()
    opened.close()


def check_hostile(browser, folder, width):
    opened = Page(browser, folder / "hostile.html", width, "light")
    opened.check(opened.page.evaluate("window.attacked") is None, "a text of the report ran")
    opened.check(
        opened.page.locator("main img, main script").count() == 0, "a text of the report became an element"
    )
    opened.check(opened.sections() == SECTIONS, f"sections are {opened.sections()}")
    opened.check("<script>" in opened.page.inner_text("h1"), "texts are not shown as they are")
    opened.check("cannot be shown" not in opened.page.inner_text("main"), "a section gives up")
    opened.check_width()
    opened.shoot(folder)
    opened.close()


def print_page(browser, folder):
    opened = Page(browser, folder / "full.html", 1400, "dark")
    opened.page.pdf(path=folder / "full.pdf", format="A4", print_background=True, prefer_css_page_size=True)
    opened.close()


def main():
    chromium, folder = shutil.which(sys.argv[1]), Path(sys.argv[2]).resolve()
    with sync_playwright() as playwright:
        # Pages come from the checkout; as root, which CI is, Chromium has no sandbox.
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for width in WIDTHS:
            for theme in THEMES:
                check_full(browser, folder, width, theme)
            check_partial(browser, folder, width)
            check_hostile(browser, folder, width)
        print_page(browser, folder)
        version = browser.version
        browser.close()
    print(
        f"pages are as they should be in Chromium {version}: {len(WIDTHS)} widths, {len(THEMES)} themes; screenshots in {folder}"
    )


if __name__ == "__main__":
    main()

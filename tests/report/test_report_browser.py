"""The page in headless Chromium: no console error, right colors, keyboard, phone width, nothing executed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from c2seg.cli import run as c2seg
from c2seg.legend import LandClass, Legend, c2seg13
from c2seg.report import ReportOptions, make_report
from helpers import report_make as make
from helpers.accessibility import violations

READY = "document.documentElement.dataset.ready === 'yes'"
TAB, ENTER, LEFT, RIGHT, DOWN, SPACE, ESCAPE = (
    chr(c) for c in (0xE004, 0xE007, 0xE012, 0xE014, 0xE015, 0xE00D, 0xE00C)
)
# Color of the canvas at a share of its width and height, in side-by-side or swipe mode alike.
PIXEL = """
const c = document.querySelectorAll('canvas')[arguments[0]];
return [...c.getContext('2d').getImageData(arguments[1] * c.width, arguments[2] * c.height, 1, 1).data].slice(0, 3);
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    place = make.grid(60, 90)
    city = make.make_city(folder / "town", place, label=True)
    runs = [make.make_run(folder / name, curves=name == "unet", validation=True) for name in ("forest", "unet")]
    make.make_map(runs[0] / "town.tif", make.labels(place), place, confidence=True, city_path=city)
    make.make_map(runs[1] / "town.tif", make.wrong_in_one_stripe(place), place, confidence=True, city_path=city)
    make_report(runs, ReportOptions(folder / "page.html", references=(city,)))
    return folder / "page.html"


def show(browser, path, width=1280, height=800, *, mobile=False):
    browser.size(width, height, mobile=mobile)
    browser.open(path)
    browser.wait(READY)


def choose(browser, selector, text):
    browser.script(
        "const s = document.querySelector(arguments[0]);"
        "s.value = [...s.options].find((o) => o.text === arguments[1]).value; s.dispatchEvent(new Event('change'));",
        selector, text,
    )  # fmt: skip


def test_maps_have_the_colors_of_the_legend(browser, page):
    show(browser, page)
    assert browser.errors() == []
    choose(browser, "select.left", "Map: forest")
    # The three stripes: urban fabric, arable land, forests; the swipe line is in the middle of the second.
    red, yellow, green = (list(c2seg13().colors()[number]) for number in (3, 7, 10))
    assert browser.script(PIXEL, 0, 0.2, 0.5) == red
    assert browser.script(PIXEL, 0, 0.42, 0.8) == yellow
    assert browser.script(PIXEL, 0, 0.8, 0.5) == green
    choose(browser, "select.right", "Map: unet")
    assert browser.script(PIXEL, 0, 0.58, 0.8) == red  # unet takes class 7 for 3
    browser.script("document.querySelector('[data-class=\"10\"]').click()")
    assert browser.script(PIXEL, 0, 0.8, 0.5) == [0, 0, 0]
    browser.script("document.querySelector('[data-all=on]').click()")
    choose(browser, "select.palette", "dataset paper")
    expected = list(c2seg13().colors("paper")[10])
    assert browser.script(PIXEL, 0, 0.8, 0.5) == expected
    choose(browser, "select.right", "Errors: unet")
    assert browser.script(PIXEL, 0, 0.58, 0.8) == [255, 122, 60]
    assert browser.script(PIXEL, 0, 0.8, 0.5) == [71, 82, 91]
    for option in browser.script("return [...document.querySelector('select.right').options].map((o) => o.text)"):
        choose(browser, "select.right", option)
        assert browser.script(PIXEL, 0, 0.8, 0.5) != [0, 0, 0], option
    assert browser.errors() == []


def test_train_in_parallel_shows_the_same_place_twice(browser, page):
    show(browser, page)
    choose(browser, "select.left", "Map: forest")
    browser.script("document.querySelector('input[value=beside]').click()")
    # Wider than high: one above the other.
    for share in (0.3, 0.45):
        assert browser.script(PIXEL, 0, share, 0.25) == browser.script(PIXEL, 0, share, 0.75) != [0, 0, 0]
    for _ in range(4):
        browser.script("document.querySelector('[data-zoom=in]').click()")
    zoom = float(browser.script("return document.querySelector('.viewer').dataset.zoom"))
    assert zoom == pytest.approx(1.5**4, rel=0.01)
    assert browser.script(PIXEL, 0, 0.45, 0.25) == browser.script(PIXEL, 0, 0.45, 0.75) == list(c2seg13().colors()[7])


def test_everything_is_reached_by_keyboard(browser, page):
    show(browser, page)
    browser.script("document.body.focus()")
    seen = []
    for _ in range(80):
        browser.press(TAB)
        seen.append(
            browser.script("const e = document.activeElement; return e.tagName + '.' + (e.className || e.type || '')")
        )
    for wanted in (
        "SELECT.left",
        "SELECT.right",
        "INPUT.radio",
        "CANVAS.",
        "INPUT.range",
        "INPUT.checkbox",
        "TD.right",
        "SUMMARY.",
    ):
        assert wanted in seen, wanted
    outline = browser.script(
        "document.querySelector('canvas').focus(); return getComputedStyle(document.activeElement).outlineWidth"
    )
    assert outline == "3px"


def test_keys_move_the_map(browser, page):
    show(browser, page)
    choose(browser, "select.left", "Map: forest")
    browser.script("document.querySelector('canvas').focus()")
    read = "return document.querySelector('.readout').textContent"
    browser.press("+", "+", "+")
    assert "Row 30, column 45" in browser.script(read)
    assert "Reference: Arable land" in browser.script(read)
    assert "unet: Urban fabric" in browser.script(read)
    for _ in range(12):
        browser.press(LEFT)
    assert "forest: Urban fabric" in browser.script(read)
    browser.press(DOWN)
    browser.press("0")
    assert browser.script("return document.querySelector('.viewer').dataset.zoom") == "1.000"
    before = browser.script("return Number(document.querySelector('.swiper input').value)")
    browser.press(".", ".", ".")
    assert browser.script("return Number(document.querySelector('.swiper input').value)") == before + 6


def test_a_cell_of_the_confusion_is_shown_on_the_map(browser, page):
    show(browser, page)
    browser.script(
        "const w = document.querySelector('select.which'); w.value = '1'; w.dispatchEvent(new Event('change'))"
    )
    browser.script("document.querySelectorAll('#scores0 .confusion')[1].querySelector('td').focus()")
    browser.press(RIGHT, RIGHT, *[DOWN] * 6)
    assert browser.script("return document.activeElement.dataset.ij") == "7,3"
    assert browser.script("return document.activeElement.textContent") == "100"
    browser.press(ENTER)
    assert (
        browser.script("const s = document.querySelector('select.right'); return s.selectedOptions[0].text")
        == "Errors: unet"
    )
    assert browser.script(PIXEL, 0, 0.58, 0.8) == [255, 122, 60]
    assert "chosen cell" in browser.script("return document.querySelector('.tag.second').textContent")
    browser.press(ESCAPE)
    assert "chosen cell" not in browser.script("return document.querySelector('.tag.second').textContent")
    browser.script("document.querySelector('#scores0 input[value=count]').click()")
    assert browser.script("return document.querySelector('#scores0 td[data-ij=\"10,10\"]').textContent") == "1770"
    assert browser.errors() == []


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_screen(browser, page, width):
    show(browser, page, width, 844, mobile=width == 390)
    assert browser.script("return document.documentElement.scrollWidth") == width
    smallest = browser.script(
        "return Math.min(...[...document.querySelectorAll('button, select')].filter((e) => e.offsetParent)"
        ".map((e) => e.getBoundingClientRect().height))"
    )
    assert smallest >= 26  # a finger must hit it
    assert browser.errors() == []


def test_text_from_files_is_not_executed(browser, tmp_path):
    evil = "<img src=x onerror=\"document.title='owned'\"></script><script>document.title='owned'</script>"
    place = make.grid()
    run = make.make_run(tmp_path / "run", recipe=evil, command=evil, curves=True)
    classes = tuple(LandClass(c.id, evil + str(c.id), c.color) for c in c2seg13().classes)
    make.make_map(run / "town.tif", make.labels(place), place, city=evil, legend=Legend("evil", classes))
    reference = make.write_raster(tmp_path / "label.tif", make.labels(place)[None], place)
    make_report([run], ReportOptions(tmp_path / "page.html", references=(reference,), title="Plain"))
    show(browser, tmp_path / "page.html")
    browser.script("document.querySelector('canvas').focus()")
    browser.press("+")
    assert browser.script("return document.title") == "Plain"
    assert browser.script("return document.querySelectorAll('img').length") == 1  # the figure
    assert evil in browser.script("return document.querySelector('.readout').textContent")
    assert browser.errors() == []


def test_a_page_without_maps_has_no_error(browser, tmp_path):
    make_report([make.make_run(tmp_path / "run", curves=True, validation=True)], ReportOptions(tmp_path / "page.html"))
    show(browser, tmp_path / "page.html")
    assert browser.errors() == []


@pytest.mark.slow
def test_forest_and_unet_of_the_quicklooks(browser, tmp_path):
    data = os.environ.get("C2SEG_REAL_DATA")
    pair = Path(data or ".") / "c2seg-ab-quicklook"
    if not (pair / "berlin").is_dir():
        pytest.skip("needs real imagery: set C2SEG_REAL_DATA")
    pytest.importorskip("torch")
    for recipe, setting in (("forest", "model.trees=20"), ("unet", "training.iterations=40")):
        run = tmp_path / recipe
        source, target = str(pair / "augsburg"), str(pair / "berlin")
        options = ["--source", source, "--target", target, "--out", str(run), "--set", setting, "--quiet"]
        assert c2seg(["fit", recipe, *options]) == 0
        out, sure = str(run / "berlin.tif"), str(run / "sure.tif")
        assert c2seg(["predict", str(run / "model.safetensors"), target, "--out", out, "--confidence", sure, "-q"]) == 0
    page = tmp_path / "page.html"
    assert c2seg(["report", str(tmp_path / "forest"), str(tmp_path / "unet"), "--out", str(page), "--quiet"]) == 0
    assert page.stat().st_size < 15_000_000
    for width, height in ((1280, 800), (390, 844)):
        show(browser, page, width, height, mobile=width == 390)
        assert browser.script("return document.documentElement.scrollWidth") == width
        assert browser.script("return document.querySelectorAll('#curves svg').length") >= 2
        assert browser.errors() == []


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_axe_finds_nothing_wrong(browser, page, width, scheme):
    browser.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    try:
        show(browser, page, width, 844, mobile=width == 390)
        assert violations(browser) == []
        browser.script("document.querySelector('main').append(document.createElement('img'))")
        assert [fault["id"] for fault in violations(browser)] == ["image-alt"]  # it does look
    finally:
        browser.cdp("Emulation.setEmulatedMedia", features=[])


def test_the_page_opens_on_the_best_run_and_bold_marks_the_best_of_a_column(browser, page):
    show(browser, page)
    text = "const s = document.querySelector('select.right'); return s.selectedOptions[0].text"
    assert browser.script(text) == "Map: forest"
    bold = (
        "return [...document.querySelectorAll(arguments[0] + ' tbody tr')].map((r) => r.querySelectorAll('b').length)"
    )
    assert browser.script(bold, "#scores0 .headline") == [4, 0]  # all four scores are the forest's
    assert browser.script(bold, "#runs") == [2, 0]
    assert browser.script("return document.querySelector('#provenance details[open] summary').textContent") == "forest"


def test_a_phone_is_told_what_can_be_scrolled(browser, page):
    show(browser, page, 390, 844, mobile=True)
    cues = "return [...document.querySelectorAll('.cue')].filter((e) => e.offsetParent).length"
    assert browser.script(cues) >= 2
    assert browser.script("return document.querySelector('.scroll.more').tabIndex") == 0
    over = (
        "return [...document.querySelectorAll('.cue')].every("
        "(e) => !e.offsetParent || e.nextSibling.scrollWidth > e.nextSibling.clientWidth)"
    )
    assert browser.script(over)


def test_maps_and_scores_are_downloaded(browser, page, tmp_path):
    show(browser, page)
    browser.downloads(tmp_path)
    browser.script("document.querySelector('[data-save]').click()")
    browser.script("document.querySelector('a[download=\"scores0.csv\"]').click()")
    browser.script("document.querySelector('a[download=\"town.tif\"]').click()")
    for name, start in (("Map-forest.png", b"\x89PNG"), ("scores0.csv", b"run,class_id"), ("town.tif", b"II")):
        end = time.monotonic() + 15
        while not (tmp_path / name).is_file():
            assert time.monotonic() < end, sorted(tmp_path.iterdir())
            time.sleep(0.05)
        assert (tmp_path / name).read_bytes().startswith(start)
    assert browser.errors() == []

"""The console in a browser: a class sees each message as it happens, in both themes, on a phone too."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.emulators.running import RunningLab, running_lab
from tests.peers import chromium_flags, loopback, peer

pytestmark = pytest.mark.interop

ROWS = "#messages tbody tr"
BEYOND = "node => node.scrollWidth - node.clientWidth"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=peer("chromium"), args=chromium_flags())
        yield started
        started.close()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLab]:
    with running_lab(loopback(), tmp_path_factory.mktemp("lab") / "state", console=True) as running:
        yield running


def url(lab: RunningLab) -> str:
    (line,) = [line for line in lab.out if "browser: http" in line]
    return line.split()[-1]


def look_up(lab: RunningLab, name: str) -> None:
    where = f"{lab.listen}:{lab.port('domain network')}"
    niutil = Path(sys.executable).parent / "niutil"
    subprocess.run([niutil, "-read", where, f"/users/{name}"], capture_output=True, timeout=30, check=False)


class Visit:
    """A page, and everything about it that should not be."""

    def __init__(self, browser: Browser, lab: RunningLab, **options: Any) -> None:
        self.page: Page = browser.new_page(**options)
        self.page.set_default_timeout(15_000)
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(url(lab))

    def end(self) -> None:
        self.page.close()


@pytest.fixture
def visit(browser: Browser, lab: RunningLab) -> Iterator[Visit]:
    visiting = Visit(browser, lab, viewport={"width": 1280, "height": 900})
    yield visiting
    visiting.end()


def test_messages_appear_as_they_happen_and_are_explained(visit: Visit, lab: RunningLab) -> None:
    page = visit.page
    expect(page.locator("#state")).to_have_text("live")
    look_up(lab, "explained")
    row = page.locator(ROWS).filter(has_text="value=explained")
    expect(row).to_have_count(1)
    expect(page.locator("#empty")).to_be_hidden()
    row.click()
    tree = page.locator("#explanation .tree")
    expect(tree).to_contain_text("200100000 (netinfo)")
    expect(tree).to_contain_text("property name")
    field = page.locator("#explanation .field", has_text="program").first
    field.hover()
    expect(page.locator(".dump b.on")).to_have_count(4)
    page.locator(".dump b").first.hover()
    expect(page.locator(".field.on")).to_have_count(1)
    assert visit.complaints == []
    assert all(asked.startswith(url(lab)) for asked in visit.asked)


def test_keys_move_the_choice(visit: Visit, lab: RunningLab) -> None:
    look_up(lab, "keys")
    page = visit.page
    chosen = page.locator("#explanation h2 .number")
    rows = page.locator(ROWS)
    rows.filter(has_text="value=keys").click()
    number = int(chosen.inner_text())
    page.keyboard.press("ArrowDown")
    expect(chosen).to_have_text(str(number + 1))
    expect(page.locator("#explanation h2")).to_contain_text("LOOKUP NI_NODIR")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    expect(chosen).to_have_text(str(number - 1))
    expect(page.locator(f"{ROWS}[aria-selected=true]")).to_have_count(1)
    rows.first.click()
    page.keyboard.press("ArrowUp")
    expect(page.locator(f"{ROWS}[aria-selected=true]")).to_have_count(1)


def test_filter_pause_and_clear(visit: Visit, lab: RunningLab) -> None:
    page = visit.page
    look_up(lab, "filtered")
    expect(page.locator(ROWS).filter(has_text="value=filtered")).to_have_count(1)
    everything = page.locator(ROWS).count()
    page.fill("#filter", "lookup NI_NODIR")
    shown = page.locator(f"{ROWS}:visible")
    assert 0 < shown.count() < everything
    for text in shown.all_inner_texts():
        assert "LOOKUP" in text
    page.fill("#filter", "")
    page.click("#pause")
    look_up(lab, "held back")
    page.wait_for_timeout(500)
    expect(page.locator(ROWS)).to_have_count(everything)
    page.click("#pause")
    expect(page.locator(ROWS).filter(has_text="held back")).to_have_count(1)
    page.click("#clear")
    expect(page.locator(ROWS)).to_have_count(0)
    expect(page.locator("#empty")).to_be_visible()


def test_what_a_peer_sends_is_text(visit: Visit, lab: RunningLab) -> None:
    look_up(lab, "<img src=x onerror=document.title='owned'>")
    row = visit.page.locator(ROWS).filter(has_text="<img")
    expect(row.first).to_be_visible()
    row.first.click()
    expect(visit.page.locator("#explanation .tree")).to_contain_text("<img")
    assert visit.page.locator("img").count() == 0
    assert "owned" not in visit.page.title()
    assert visit.complaints == []


def test_a_lab_that_begins_and_ends(browser: Browser, tmp_path: Path) -> None:
    with running_lab(loopback(), tmp_path / "state", console=True) as lab:
        visiting = Visit(browser, lab)
        expect(visiting.page.locator("#state")).to_have_text("live")
        expect(visiting.page.locator("#empty")).to_be_visible()
        lab.end()
        expect(visiting.page.locator("#state")).to_contain_text("does not answer")
        visiting.end()


def test_a_page_that_stays_open_becomes_that_of_the_next_lab(browser: Browser, tmp_path: Path) -> None:
    """Between two classes: what the old lab said is not shown with the bytes of the new one's messages."""
    listen = loopback()
    with running_lab(listen, tmp_path / "state", console=True) as lab:
        visiting = Visit(browser, lab)
        page = visiting.page
        look_up(lab, "first")
        expect(page.locator(ROWS).filter(has_text="value=first")).to_have_count(1)
        port = url(lab).rstrip("/").rpartition(":")[2]
        lab.end()
    with running_lab(listen, tmp_path / "state", "--fresh", "--console", port, console=True) as lab:
        expect(page.locator("#services")).to_contain_text(str(lab.port("domain network")))
        look_up(lab, "second")
        expect(page.locator(ROWS).filter(has_text="value=second")).to_have_count(1)
        expect(page.locator(ROWS).filter(has_text="value=first")).to_have_count(0)
    visiting.end()


def test_dark_is_dark_and_light_is_light(browser: Browser, lab: RunningLab) -> None:
    grounds = []
    for scheme in ("light", "dark"):
        visiting = Visit(browser, lab, color_scheme=scheme)
        grounds.append(visiting.page.evaluate("getComputedStyle(document.body).backgroundColor"))
        visiting.end()
    light, dark = (sum(int(part) for part in ground[4:-1].split(",")) for ground in grounds)
    assert light > 600
    assert dark < 150


def test_a_phone_needs_no_sideways_scrolling(browser: Browser, lab: RunningLab) -> None:
    look_up(lab, "on-a-phone")
    visiting = Visit(browser, lab, viewport={"width": 360, "height": 740})
    page = visiting.page
    row = page.locator(ROWS).filter(has_text="on-a-phone")
    row.click()
    expect(page.locator("#explanation .tree")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for part in page.locator(".about section").all():
        assert part.evaluate(BEYOND) <= 0
    visiting.end()


def test_commands_to_try_are_shown_whole(visit: Visit) -> None:
    for part in visit.page.locator(".about section, .try dd").all():
        assert part.evaluate(BEYOND) <= 0


def test_labels_for_those_who_do_not_see(visit: Visit) -> None:
    page = visit.page
    expect(page.get_by_role("status")).to_have_text("live")
    expect(page.get_by_role("searchbox", name="Show")).to_be_visible()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    expect(page.get_by_role("region", name="Messages")).to_be_visible()

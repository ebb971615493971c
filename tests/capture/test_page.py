"""wire.capture.page: the page in a real browser, by pointer, keyboard, on a phone, in the dark, and on paper."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from playwright.sync_api import Browser, Page, sync_playwright

from tests.capture.frames import call, messages, record, talk
from tests.capture.test_sup import built, file, session
from tests.peers import chromium_flags, peer
from wire.capture import page as module
from wire.capture.commands.dissect import dissect
from wire.capture.page import page
from wire.formats.netinfo import LookupArgs, NiId
from wire.formats.sup import Goaway

CAPTURES = Path(__file__).parent.parent / "captures"
HOSTILE = b"</script><script>window.hurt=1</script><img src=x onerror=window.hurt=1><!--\xff\0\x1b[31m"


def data_of(html: str) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert found
    return json.loads(found[1])


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=peer("chromium"), args=chromium_flags())
        yield browser
        browser.close()


class Opened:
    """A page in the browser which has not complained and has asked nobody for anything."""

    def __init__(self, browser: Browser, path: Path, **context: Any) -> None:
        self.context = browser.new_context(**context)
        self.page: Page = self.context.new_page()
        self.told: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.told.append(message.text))
        self.page.on("pageerror", lambda error: self.told.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())

    def close(self) -> None:
        assert self.told == []
        assert [url for url in self.asked if not url.startswith("file:")] == []
        self.context.close()

    def text(self, selector: str) -> str:
        return self.page.inner_text(selector)

    def lit(self, kind: str) -> list[int]:
        """The bytes of the hex dump that are lit."""
        places = self.page.eval_on_selector_all(
            f"#hex div > .{kind}", "found => found.map(one => Number(one.dataset.i))"
        )
        return sorted(set(places))


@pytest.fixture
def binding(tmp_path: Path) -> Path:
    path = tmp_path / "binding.html"
    ran = CliRunner().invoke(dissect, [str(CAPTURES / "netinfo" / "next-binding.pcap"), "--html", str(path)])
    assert (ran.exit_code, ran.output) == (0, "")
    return path


# ------------------------------------------------------------------------------------------------------- its data


def test_one_file_with_everything_in_it(binding: Path) -> None:
    html = binding.read_text(encoding="utf-8")
    assert "http://" not in html.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in html
    found = data_of(html)
    assert len(found["messages"]) == 113
    assert found["conversations"]["1"]["client"] == "127.0.0.1:974"
    assert found["about"] == "113 messages from 2026-11-21 00:55:14.328699 UTC on"


def test_hostile_bytes_stay_data() -> None:
    said = [
        *session()[:15],
        ("server", built(file(HOSTILE, None, 0o40755))),
        ("client", built(Goaway(HOSTILE))),
    ]
    html = page(messages(talk(*said)), "x</title><script>alert(1)</script>")
    assert html.count("<script") == 2
    assert "alert(1)</script>" not in html
    assert data_of(html)["messages"][-1]["d"].startswith("reason='</script><script>window.hurt=1</script>")


def test_long_captures_messages_and_lists_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_MESSAGES", 5)
    found = data_of(page(messages(talk(*session())), "x"))
    assert len(found["messages"]) == 5
    assert found["about"].endswith("16 more are left out: choose with --follow or --where")
    big = call("LOOKUP", LookupArgs(NiId(0, 0), b"k" * 3000, b"v" * 3000))
    (one,) = data_of(page(messages(talk(("client", record(big)))), "x"))["messages"]
    assert len(one["h"]) == 2 * module.MAX_BYTES
    assert one["o"] == len(record(big)) - module.MAX_BYTES
    monkeypatch.setattr(module, "MAX_PARTS", 3)
    monkeypatch.setattr(module, "MAX_MESSAGES", 50)
    assert re.search(r"… \d+ more", page(messages(talk(*session())), "x"))


def test_an_empty_page() -> None:
    assert data_of(page([], "x"))["about"] == "0 messages"


def test_wrong_usage(tmp_path: Path) -> None:
    capture = str(CAPTURES / "netinfo" / "next-binding.pcap")
    for options in (["--json"], ["--stats"], ["--explain"], [capture]):
        assert CliRunner().invoke(dissect, [capture, "--html", str(tmp_path / "x"), *options]).exit_code == 2
    ran = CliRunner().invoke(dissect, [capture, "--html", str(tmp_path / "missing" / "x")])
    assert (ran.exit_code, "cannot be written" in ran.output) == (1, True)


# ---------------------------------------------------------------------------------------------------- in Chromium


@pytest.mark.interop
def test_fields_and_bytes_are_linked_both_ways(browser: Browser, binding: Path) -> None:
    opened = Opened(browser, binding, viewport={"width": 1500, "height": 900})
    at = opened.page
    at.click("#m34")
    assert opened.text("#heading") == "34. netinfo LISTPROPS reply NI_OK after 0.021 ms"
    at.hover('#tree .row:has-text("xid")')
    assert opened.lit("near") == [4, 5, 6, 7]
    assert "bytes 4 to 7" in opened.text("#says")
    assert "transaction number, copied from the call into its reply" in opened.text("#says")
    at.click('#hex div > [data-i="41"]')  # the "a" in "name"
    assert opened.lit("pick") == [40, 41, 42, 43]
    assert at.is_visible('#tree .pick .row:has-text("name")')
    assert 'bytes = "name" (bytes 40 to 43)' in opened.text("#says")
    assert "the values of the property" in opened.text("#says")
    at.hover('#hex div > [data-i="0"]')
    assert at.eval_on_selector("#tree .near .label", "one => one.textContent") == "word"
    opened.close()


@pytest.mark.interop
def test_by_keyboard(browser: Browser, binding: Path) -> None:
    opened = Opened(browser, binding, viewport={"width": 1500, "height": 900})
    at = opened.page
    steps = {"ArrowDown": "2.", "j": "3.", "k": "2.", "End": "113.", "PageUp": "103.", "Home": "1."}
    for key, heading in steps.items():
        at.keyboard.press(key)
        assert opened.text("#heading").startswith(heading)
    at.keyboard.press("Enter")
    assert at.evaluate("document.activeElement.getAttribute('role')") == "treeitem"
    for key in ("ArrowDown", "ArrowRight"):
        at.keyboard.press(key)
    assert at.evaluate("document.activeElement.firstChild.firstChild.textContent") == "word"
    at.keyboard.press("ArrowLeft")
    at.keyboard.press("ArrowLeft")
    assert at.evaluate("document.activeElement.getAttribute('aria-expanded')") == "false"
    at.keyboard.press("Escape")
    assert at.evaluate("document.activeElement.getAttribute('role')") == "listbox"
    at.keyboard.press("/")
    at.keyboard.type("NI_NETROOT")
    assert at.locator("#messages li").count() == 2
    at.keyboard.press("Escape")
    assert at.locator("#messages li").count() == 113
    opened.close()


SEEN = """(selector) => {
    const all = [...document.querySelectorAll(selector)], place = all[0].getBoundingClientRect();
    const over = document.elementFromPoint(place.left + 5, place.top + 5);
    return place.top >= 0 && place.bottom <= innerHeight && all[0].contains(over);
}"""
"""Whether the first such element is in the window, with nothing above it."""


@pytest.mark.interop
@pytest.mark.parametrize("size", [(1500, 900), (1280, 720), (360, 740)])
def test_a_chosen_field_and_its_sentence_are_in_sight(
    browser: Browser, tmp_path: Path, size: tuple[int, int]
) -> None:
    path = tmp_path / "page.html"
    CliRunner().invoke(
        dissect, [str(CAPTURES / "netinfo" / "next-clone.pcap"), "--follow", "8", "--html", str(path)]
    )
    opened = Opened(browser, path, viewport={"width": size[0], "height": size[1]})
    at = opened.page
    longest = at.evaluate("data.messages.reduce((a, b) => a.h.length > b.h.length ? a : b).n")
    at.click(f"#m{longest}")
    for byte in (0, 45, 300):
        at.click(f'#hex div > [data-i="{byte}"]')
        assert at.evaluate(SEEN, "#says"), byte
        assert at.evaluate(SEEN, "#tree .pick > .row"), byte
    for key in ("Home", "ArrowDown", "End", "ArrowUp", "ArrowUp"):
        at.keyboard.press(key)
        assert at.evaluate(SEEN, "#says"), key
        assert at.evaluate(SEEN, "#tree .pick > .row"), key
    opened.close()


@pytest.mark.interop
def test_conversations_and_the_ladder(browser: Browser, binding: Path) -> None:
    opened = Opened(browser, binding, viewport={"width": 1500, "height": 900})
    at = opened.page
    at.select_option("#conversation", "15")
    assert at.locator("#messages li").count() == 20
    steps = at.locator("#ladder g.step")
    assert steps.count() == 20
    assert "client 10.77.0.2:987" in opened.text("#ladder")
    steps.nth(3).click()
    assert opened.text("#heading").startswith("30.")
    assert at.locator("#m30[aria-selected=true]").count() == 1
    assert at.url.endswith("#30")
    assert at.locator("#ladder g.failed").count() == 1
    at.fill("#find", "nothing like this")
    assert opened.text("#messages").strip() == "No message fits."
    assert opened.text("#heading") == ""
    opened.close()


@pytest.mark.interop
def test_the_stall_is_drawn(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "sup.html"
    CliRunner().invoke(dissect, [str(CAPTURES / "sup" / "s01-fresh.pcap"), "--html", str(path)])
    opened = Opened(browser, path, viewport={"width": 1500, "height": 900})
    told = opened.text("#ladder")
    assert "41.7 ms of silence" in told
    opened.page.click("#m18")
    assert "cut off by the recorder's snap length" in opened.text("#says")
    assert opened.text("#hex") == ""
    opened.close()


@pytest.mark.interop
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark(browser: Browser, binding: Path, scheme: Any) -> None:
    opened = Opened(browser, binding, color_scheme=scheme)
    paper = "getComputedStyle(document.body).backgroundColor"

    def brightness() -> int:
        return sum(map(int, re.findall(r"\d+", opened.page.evaluate(paper))[:3]))

    assert (brightness() > 380) is (scheme == "light")
    opened.page.click("#theme")
    assert (brightness() > 380) is (scheme == "dark")
    opened.close()


@pytest.mark.interop
def test_on_a_phone(browser: Browser, binding: Path) -> None:
    opened = Opened(browser, binding, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    at = opened.page
    at.tap("#m6")
    assert at.evaluate("document.documentElement.scrollWidth") <= 360
    top = at.evaluate("document.getElementById('heading').getBoundingClientRect().top")
    assert 0 <= top < 200
    at.tap('#hex div > [data-i="5"]')
    assert opened.lit("pick") == [4, 5, 6, 7]
    opened.close()


@pytest.mark.interop
def test_on_paper(browser: Browser, binding: Path) -> None:
    opened = Opened(browser, binding, color_scheme="dark")
    opened.page.emulate_media(media="print")
    assert opened.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert opened.page.is_hidden("#find")
    height = opened.page.evaluate("document.getElementById('messages').clientHeight")
    assert height == opened.page.evaluate("document.getElementById('messages').scrollHeight")
    assert opened.page.pdf().startswith(b"%PDF")
    opened.close()


@pytest.mark.interop
def test_hostile_bytes_do_nothing(browser: Browser, tmp_path: Path) -> None:
    said = [
        *session()[:15],
        ("server", built(file(HOSTILE, None, 0o40755))),
        ("client", built(Goaway(HOSTILE))),
    ]
    path = tmp_path / "hostile.html"
    path.write_text(page(messages(talk(*said)), HOSTILE.decode("latin-1")), encoding="utf-8")
    opened = Opened(browser, path)
    for key in ("End", "ArrowUp", "Enter"):
        opened.page.keyboard.press(key)
    assert opened.page.evaluate("window.hurt") is None
    assert opened.page.locator("img").count() == 0
    opened.close()

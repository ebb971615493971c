"""The lessons in their order: the page, the capture beside it, and the function that plays the exchange.

The pages and captures are those of the manual, `docs/lessons`, which a wheel has in this package.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

import attrs

if TYPE_CHECKING:  # a list of lessons is printed without the servers that play them
    from emulators.lessons.stage import Play
    from emulators.lessons.story import Figure

_INSTALLED = Path(__file__).parent / "pages"
PAGES = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[2] / "docs" / "lessons"


@attrs.frozen
class Lesson:
    """A lesson. `name` is that of its page and capture, `module` plays it."""

    number: int
    name: str
    module: str

    @property
    def page(self) -> Path:
        """The page, as the manual has it."""
        return PAGES / f"{self.number}-{self.name}.md"

    @property
    def capture(self) -> Path:
        """The capture that the page was made from."""
        return PAGES / "captures" / f"{self.number}-{self.name}.pcapng"

    @property
    def title(self) -> str:
        """The page's heading, without its number."""
        with self.page.open(encoding="utf-8") as file:
            return file.readline().lstrip("# ").partition(". ")[2].strip()

    @property
    def play(self) -> Play:
        return cast("Play", self._module.play)

    @property
    def figures(self) -> Mapping[str, Figure]:
        return cast("Mapping[str, Figure]", getattr(self._module, "FIGURES", {}))

    @property
    def _module(self) -> ModuleType:
        return import_module(f"emulators.lessons.{self.module}")

    async def run(self, reactor: Any, capture: Path) -> str:
        """Play the exchange, record it in the new file *capture*, and tell the page with what happened.

        Raises LessonError if it did not go as the page says; OSError.
        """
        from emulators.lessons.stage import perform

        await perform(self.play, reactor, capture)
        return self.told(capture)

    def told(self, capture: Path) -> str:
        """The page with its blocks made from *capture*. Raises StoryError."""
        from emulators.lessons.story import tell

        return tell(self.page.read_text(encoding="utf-8"), capture, self.figures)


LESSONS = (
    Lesson(1, "silence", "silence"),
    Lesson(2, "one-call", "one_call"),
    Lesson(3, "finding-a-server", "finding"),
    Lesson(4, "climbing", "climbing"),
    Lesson(5, "password", "password"),
    Lesson(6, "stale-instances", "stale"),
    Lesson(7, "upgrade", "upgrade"),
    Lesson(8, "forty-milliseconds", "stall"),
    Lesson(9, "breaking-the-cipher", "breaking"),
    Lesson(10, "three-guards", "guards"),
)

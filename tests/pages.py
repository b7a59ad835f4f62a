"""The pages that users read, README and docs/*.md, and the blocks in them."""

import dataclasses
import re
import textwrap

from tests.programs import ROOT

PAGES = {
    path.stem: path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
}
# A page of the reference is made of docstrings, which test_package.py runs.
PAGE_PATHS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(
    r"^(?P<indentation> *)"
    r"(?:<!-- needs: (?P<needs>\S+) -->\n(?P=indentation))?"
    r"```(?P<language>\w+)\n(?P<code>.*?)^(?P=indentation)```",
    re.MULTILINE | re.DOTALL,
)


@dataclasses.dataclass(frozen=True)
class Block:
    """A block of a page; ``needs`` is a package that neither the library nor its tests have."""

    page: str
    number: int
    code: str
    needs: str | None

    @property
    def name(self):
        """The page and the number of the block in it."""
        return f"{self.page.replace('-', '_')}_{self.number}"


def blocks(text, language):
    """Return the blocks of a language, without the indentation of the list that they are in."""
    return [block.code for block in _found("", text, language)]


def _found(page, text, language):
    found = [m for m in _BLOCK.finditer(text) if m["language"] == language]
    return [
        Block(page, number, textwrap.dedent(match["code"]), match["needs"])
        for number, match in enumerate(found, 1)
    ]


PYTHON_BLOCKS = [block for page, text in PAGES.items() for block in _found(page, text, "python")]


def table_of(page, heading):
    """Return the rows of the last table of a section, each a list of cells without backticks.

    ``None`` as heading is what comes before the first section.
    """
    text = PAGES[page]
    section = text if heading is None else text.partition(f"\n## {heading}\n")[2]
    section = section.partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    last_rule = max(number for number, row in enumerate(rows) if row.startswith("|---"))
    return [[cell.strip(" `") for cell in row.split("|")[1:-1]] for row in rows[last_rule + 1 :]]

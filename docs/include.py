"""Fills in what the pages in docs include: `python docs/include.py`, from anywhere.

A marker on a line of its own names a file of the repository; the fenced block below it is that file, whole:

    <!-- include: examples/det-acme/src/det_acme/plugin.py -->

docs/hooks-and-contracts.md is written from the source of det_core.plugins.hooks and det_core.contracts, the lines
between `<!-- checks -->` and `<!-- end of checks -->` from the checks of the conformance kit, and those between
`<!-- published models -->` and `<!-- end of published models -->` from the index of published models. Those between
`<!-- measured: NAME -->` and `<!-- end of measured -->` are a table of mobile_tables.py, from results of benchmarks.
"""

import re
from pathlib import Path

from mobile_tables import table
from published_models import tables
from reference import PAGE, checks, page

ROOT = Path(__file__).resolve().parents[1]
_CHECKS = re.compile(r"(?<=^<!-- checks -->\n).*?(?=^<!-- end of checks -->$)", re.MULTILINE | re.DOTALL)
_MODELS = re.compile(
    r"(?<=^<!-- published models -->\n).*?(?=^<!-- end of published models -->$)", re.MULTILINE | re.DOTALL
)
_MEASURED = re.compile(
    r"(?<=^<!-- measured: )(?P<name>\w+) -->\n.*?(?=^<!-- end of measured -->$)", re.MULTILINE | re.DOTALL
)
_INCLUDE = re.compile(r"^<!-- include: (?P<path>\S+) -->\n```(?P<language>\w+)\n.*?^```$", re.MULTILINE | re.DOTALL)


def refreshed(text: str) -> str:
    """The text of a page with every included file and every generated table, as they are now."""

    def block(match: re.Match[str]) -> str:
        content = (ROOT / match["path"]).read_text(encoding="utf-8").rstrip("\n")
        return f"<!-- include: {match['path']} -->\n```{match['language']}\n{content}\n```"

    text = _MODELS.sub(lambda _: tables(), text)
    text = _MEASURED.sub(lambda match: f"{match['name']} -->\n{table(match['name'])}", text)
    return _CHECKS.sub(lambda _: checks(), _INCLUDE.sub(block, text))


def main() -> None:
    """Rewrite the pages that have changed."""
    pages = {path: refreshed(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "docs").rglob("*.md"))}
    pages[ROOT / "docs" / PAGE] = page()
    for path, text in pages.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

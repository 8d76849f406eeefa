"""Writes docs/reference: the arguments of every component of the packages, `python docs/components.py`.

One page per kind of component, from signatures and docstrings; a test compares the pages with the code.
"""

from pathlib import Path

from det_core.plugins import registry
from det_inspect.components import describe, parts

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "reference"
PACKAGES = sorted(path.parent.name for path in ROOT.glob("packages/*/pyproject.toml"))
_MARK = "<!-- Written by docs/components.py from signatures and docstrings: change those, and run it. -->\n"
_INDEX = f"""{_MARK}# Reference of components

Every component that the packages of the project offer, with the arguments that a recipe can give.
`det recipes show TYPE` (det-inspect) prints one of them in a terminal.

A component as a type means a node: `{{type: NAME, ...}}`, or without `type` for the default. What is required of a head
or of another part, such as `channels`, `strides` or `num_classes`, is given by the part around it, never by a recipe
([Factory](../recipes.md#arguments-from-the-parent-factory)).

| kind | in a recipe | components |
| --- | --- | --- |
"""
KINDS = {
    "models": "`model`",
    "backbones": "`model.backbone`, and within others",
    "heads": "within `model`",
    "datasets": "`data.train`, `data.val`, `data.test`",
    "evaluators": "`data.evaluators`",
    "exporters": "`det export --format`",
    "parts": "everywhere, by import path",
}


def pages() -> dict[str, str]:
    """The text of each page, by its file name."""
    texts, rows = {}, []
    for kind, place in KINDS.items():
        components = (
            registry.components(kind) if kind != "parts" else [each for name in PACKAGES for each in parts(name)]
        )
        documented = [each for each in components if kind == "parts" or each.distribution in PACKAGES]
        sections = {each.qualified: describe(each).markdown() for each in documented}
        texts[f"{kind}.md"] = "\n".join([f"{_MARK}# {kind.capitalize()}\n", *sections.values()])
        rows.append(f"| [{kind}]({kind}.md) | {place} | {', '.join(f'`{name}`' for name in sections)} |\n")
    return {"README.md": _INDEX + "".join(rows), **texts}


def main() -> None:
    """Write the pages."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, "utf-8")


if __name__ == "__main__":
    main()

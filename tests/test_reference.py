"""docs/reference: the arguments of every component are those of the code."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def pages():
    spec = importlib.util.spec_from_file_location("docs_components", ROOT / "docs" / "components.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.pages()


def test_reference_pages_have_the_present_arguments(pages):
    folder = ROOT / "docs" / "reference"
    assert {path.name for path in folder.iterdir()} == pages.keys()
    old = [name for name, text in pages.items() if (folder / name).read_text("utf-8") != text]
    assert not old, "run `python docs/components.py`"


def test_reference_has_components_of_all_packages_of_models(pages):
    text = pages["README.md"]
    assert all(
        f"`{name}/" in text for name in ("det-core", "det-datasets", "det-densepose", "det-vitdet", "det-panoptic")
    )

"""Hooks of mkdocs: the pages of docs, and the files of the repository that they link to, become one site.

A link of a page leads to a path of the repository, as on a code-hosting page. Here each path is a page of the site:
README.md is the first page, a folder is its README.md, a source file is a page with its text. A link that leads nowhere
is a warning, which ends a strict build.
"""

import logging
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from pymdownx.slugs import slugify

ROOT = Path(__file__).resolve().parents[1]
LANGUAGES = {
    ".py": "python",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".json": "json",
    ".toml": "toml",
    ".sh": "sh",
    "": "text",
}
IMAGES = (".png", ".jpg")
MOST_BYTES = 100_000  # of a source file that is shown
_LINK = re.compile(r"(?P<before>\]\()(?P<link>[^)\s]+)(?P<after>[^)]*\))")
_REFERENCE = re.compile(r"^(?P<before>\[[^\]]+\]: +)(?P<link>\S+)(?P<after>)$", re.MULTILINE)
_FENCE = re.compile(r"^(?P<fence> *```+)(?P<rest>.*?)^\1 *$", re.MULTILINE | re.DOTALL)
_HEADER = re.compile(r"^(?P<indent> *```)(?P<language>\w+) [\w ]+$", re.MULTILINE)
_log = logging.getLogger("mkdocs.det")
_pages: dict[str, str] = {}  # path in the repository: path in the site


def site_path(path: str) -> str:
    """The place in the site of a file of the repository; both from their roots."""
    renames = {"README.md": "index.md", "docs/README.md": "all-pages.md"}
    if path in renames:
        return renames[path]
    if path.startswith("docs/") and not path.endswith((".py", ".json")):
        return path.removeprefix("docs/")
    if path.endswith("/README.md"):
        return f"repository/{path.removesuffix('/README.md').replace('/', '-')}.md"
    return f"repository/{path}" if path.endswith((".md", *IMAGES)) else f"repository/{path}.md"


def resolve(page: str, link: str) -> str:
    """The path in the repository that a link on a page leads to; "" if there is no file of it."""
    target = posixpath.normpath(posixpath.join(posixpath.dirname(page), link))
    if (ROOT / target).is_dir():
        target = f"{target}/README.md"
    return target if (ROOT / target).is_file() and not target.startswith("..") else ""


def links(text: str) -> list[str]:
    """The relative links of a page, outside its blocks of code."""
    prose = _FENCE.sub("", text)
    targets = [match["link"] for pattern in (_LINK, _REFERENCE) for match in pattern.finditer(prose)]
    return [link for link in targets if "://" not in link and not link.startswith(("#", "mailto:"))]


def rewrite(text: str, page: str) -> str:
    """The text of a page of the repository with links that lead to pages of the site."""

    def one(match: re.Match[str]) -> str:
        link = match["link"]
        path, hash_mark, anchor = link.partition("#")
        if "://" in link or link.startswith("mailto:") or not path:
            return match[0]
        target = resolve(page, path)
        if target not in _pages:
            _log.warning("%s: the link %s leads nowhere", page, link)
            return match[0]
        relative = posixpath.relpath(_pages[target], posixpath.dirname(_pages[page]) or ".")
        return f"{match['before']}{relative}{hash_mark}{anchor}{match['after']}"

    parts = []
    end = 0
    for fence in _FENCE.finditer(text):
        prose = text[end : fence.start()]
        parts += [_REFERENCE.sub(one, _LINK.sub(one, prose)), _HEADER.sub(r"\g<indent>\g<language>", fence[0])]
        end = fence.end()
    return "".join([*parts, _REFERENCE.sub(one, _LINK.sub(one, text[end:]))])


def reachable(start: list[str]) -> list[str]:
    """Paths in the repository of these pages and of all that their links lead to."""
    waiting, paths = list(start), dict.fromkeys(start)
    while waiting:
        page = waiting.pop()
        if page.endswith(".md"):
            targets = {resolve(page, link.partition("#")[0]) for link in links((ROOT / page).read_text("utf-8"))}
            new = sorted(targets - {""} - set(paths))
            paths |= dict.fromkeys(new)
            waiting += new
    return list(paths)


def source_page(path: str) -> str:
    """A page with the text of a file."""
    file = ROOT / path
    if file.stat().st_size > MOST_BYTES:
        return f"# {path}\n\n{file.stat().st_size} bytes, in the repository.\n"
    text = file.read_text("utf-8").rstrip("\n")
    return f"# {path}\n\n````{LANGUAGES.get(file.suffix, 'text')}\n{text}\n````\n"


def api_pages() -> dict[str, str]:
    """A page for each public module of core and its names, from the list that a test keeps; nothing is imported."""
    lines = (ROOT / "tests" / "public_names.txt").read_text("utf-8").splitlines()
    names: dict[str, list[str]] = {}
    for line in lines:
        module, _, name = line.partition(": ")
        if module.startswith("det_core"):
            names.setdefault(module, []).append(name)
    pages = {
        f"api/{module}.md": f"# {module}\n\n" + "".join(f"::: {module}.{name}\n\n" for name in members)
        for module, members in names.items()
    }
    table = "".join(
        f"| [`{module}`]({module}.md) | {', '.join(f'`{name}`' for name in members)} |\n"
        for module, members in names.items()
    )
    head = "# API reference\n\nThe public names of det-core; all others may change in any version.\n\n"
    return {"api/index.md": f"{head}| module | names |\n| --- | --- |\n{table}", **pages}


def navigation() -> list[Any]:
    """The sections and pages of docs/README.md; a folder is its README.md and the pages beside it."""
    sections: list[Any] = []
    for line in (ROOT / "docs" / "README.md").read_text("utf-8").splitlines():
        if line.startswith("## "):
            sections.append({line.removeprefix("## "): []})
        elif match := re.match(r"\* \[([^\]]+)\]\(([^)#]+)\)", line):
            (entries,) = sections[-1].values()
            title, path = match[1], resolve("docs/README.md", match[2])
            folder = (ROOT / path).parent
            further = sorted(folder.glob("*.md")) if path.endswith("/README.md") else []
            beside = [site_path(str(each.relative_to(ROOT))) for each in further if each.name != "README.md"]
            entries.append({title: [site_path(path), *beside] if beside else site_path(path)})
    return [*sections, {"Python": [{"API reference": list(api_pages())}]}, {"All pages": "all-pages.md"}]


def on_config(config: Any) -> Any:
    """Take the navigation from docs/README.md, and name the anchors of headings as code-hosting pages do."""
    config.nav = navigation()
    config.mdx_configs["toc"]["slugify"] = slugify(case="lower")
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are not in docs, and keep the place of each file of the repository."""
    pages = [f"docs/{file.src_uri}" for file in files.documentation_pages()]
    _pages.clear()
    _pages.update({path: site_path(path) for path in reachable(["README.md", *pages])})
    for path, place in _pages.items():
        existing = files.get_file_from_path(path.removeprefix("docs/")) if path.startswith("docs/") else None
        if existing is not None and existing.src_uri == place:
            continue
        if existing is not None:
            files.remove(existing)
        if path.endswith(IMAGES):
            files.append(File.generated(config, place, abs_src_path=str(ROOT / path)))
            continue
        text = (ROOT / path).read_text("utf-8") if path.endswith(".md") else source_page(path)
        files.append(File.generated(config, place, content=text))
    for place, text in api_pages().items():
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Lead the links of a page into the site."""
    origin = {place: path for path, place in _pages.items()}.get(page.file.src_uri, "")
    return rewrite(markdown, origin) if origin.endswith(".md") else markdown

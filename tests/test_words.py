"""The words of words.txt do not come back: each may occur as often as the table allows, which only gets less.

`python tests/test_words.py --list PATTERN` lists every place of a pattern, `--write` lowers the numbers to today's, and
`--init` sets them to today's, whatever they were.
"""

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
TABLE = Path(__file__).with_name("words.txt")
SUFFIXES = (".py", ".md", ".yaml", ".toml", ".template", ".tmpl")
GENERATED = {"docs/hooks-and-contracts.md", "docs/zoo.md", "docs/compatibility.md"}
SKIPPED = {"__pycache__", "data", "reference", "node_modules"}
MOST_WORDS, MOST_LISTED = 9, 40
RIDDLES = re.compile(
    r"(?<![a-z])(what|whatever|whoever|whose|nobody|somebody|everybody|everything|nothing|anything|somewhere|elsewhere"
    r"|says?|said|tells?|told|seen|sees|looks?|judged?|judges|learnt|learns nothing|its own|of their own|by itself"
    r"|as it is|all the same|come back|comes back|stands?)(?![a-z])"
)


class Word(NamedTuple):
    """A line of the table."""

    pattern: str
    use: str
    budget: int


class Place(NamedTuple):
    """Where a word stands."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


def read_table(text: str) -> list[Word]:
    """The lines of a table that are not empty or remarks."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    fields = [[field.strip() for field in line.split(" -> ")] for line in lines]
    return [Word(pattern, use, int(budget)) for pattern, use, budget in fields]


def with_budgets(text: str, counts: dict[str, int], lower_only: bool) -> str:
    """The table with the counts as budgets; `lower_only`: where they are smaller than the budgets."""
    lines = []
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            [word] = read_table(line)
            budget = min(word.budget, counts[word.pattern]) if lower_only else counts[word.pattern]
            line = f"{word.pattern} -> {word.use} -> {budget}"
        lines.append(line)
    return "\n".join(lines) + "\n"


def prose_files(root: Path) -> list[Path]:
    """Source, documentation and examples, without tests, changelogs and generated pages."""
    trees = [*root.glob("packages/*/src"), root / "docs", root / "examples"]
    files = [file for tree in trees for file in sorted(tree.rglob("*")) if file.suffix in SUFFIXES]
    files += [*sorted(root.glob("packages/*/README.md")), root / "README.md"]
    return [file for file in files if file.is_file() and not _is_skipped(file.relative_to(root), {"tests"})]


def test_files(root: Path) -> list[Path]:
    """All modules of tests, and the templates of such."""
    files = [*root.glob("tests/**/test_*.py"), *root.glob("packages/*/tests/**/test_*.py")]
    files += root.glob("examples/*/tests/**/test_*.py")
    files += root.glob("packages/*/src/**/templates/**/*test*.py.tmpl")
    return [file for file in sorted(files) if not _is_skipped(file.relative_to(root), set())]


test_files.__test__ = False  # type: ignore[attr-defined]


def _is_skipped(path: Path, further: set[str]) -> bool:
    # "data" and "reference" are folders of tests; src/det_core/data is code.
    skipped = further | (SKIPPED if "src" not in path.parts else {"__pycache__"})
    return path.as_posix() in GENERATED or bool(skipped & set(path.parts))


def places(word: Word, root: Path) -> Iterator[Place]:
    """Every place of a word or of a breach of a rule."""
    kind, _, rule = word.pattern.partition(":")
    if kind == "test":
        for file in test_files(root):
            yield from _in_test_names(rule, file, root)
    elif kind == "name":
        pattern = re.compile(rf"_*({rule})_*", re.IGNORECASE)
        for file in prose_files(root):
            if file.suffix == ".py":
                yield from _in_names(pattern, file, root)
    else:
        pattern = re.compile(rf"(?<![a-z])(?:{word.pattern})(?![a-z])", re.IGNORECASE)
        for file in prose_files(root):
            yield from _in_text(pattern, file, root)


@cache
def _text(file: Path) -> str:
    return file.read_text("utf-8")


def _in_text(pattern: re.Pattern[str], file: Path, root: Path) -> Iterator[Place]:
    for number, line in enumerate(_text(file).splitlines(), 1):
        for _ in pattern.finditer(line):
            yield Place(file.relative_to(root).as_posix(), number, line.strip())


def _in_names(pattern: re.Pattern[str], file: Path, root: Path) -> Iterator[Place]:
    text = _text(file)
    lines = text.splitlines()
    for name, number in defined_names(text):
        if pattern.fullmatch(name):
            yield Place(file.relative_to(root).as_posix(), number, f"{name}: {lines[number - 1].strip()}")


@cache
def defined_names(text: str) -> list[tuple[str, int]]:
    """Names that code defines, with their lines; without those of texts, the parts of error messages."""
    return sorted(_defined_names(text), key=lambda each: each[1])


def _defined_names(text: str) -> Iterator[tuple[str, int]]:
    tree = ast.parse(text)
    messages = {
        id(target)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in _text_targets(node.targets[0], node.value)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and id(node) not in messages:
            yield node.id, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node.lineno


def _text_targets(target: ast.expr, value: ast.expr) -> Iterator[ast.expr]:
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
        for one, its_value in zip(target.elts, value.elts, strict=True):
            yield from _text_targets(one, its_value)
    elif isinstance(value, ast.IfExp):
        if isinstance(value.body, ast.JoinedStr) or isinstance(value.orelse, ast.JoinedStr):
            yield target
    elif isinstance(value, ast.JoinedStr) or (isinstance(value, ast.Constant) and isinstance(value.value, str)):
        yield target


def _in_test_names(rule: str, file: Path, root: Path) -> Iterator[Place]:
    for name, number in _test_names(_text(file), file.suffix == ".py"):
        if breaches(name, rule):
            yield Place(file.relative_to(root).as_posix(), number, name)


@cache
def _test_names(text: str, is_python: bool = True) -> list[tuple[str, int]]:
    if not is_python:  # a template
        lines = enumerate(text.splitlines(), 1)
        return [(match[1], number) for number, line in lines if (match := re.match(r"\s*def (test_\w+)", line))]
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [(node.name, node.lineno) for node in nodes if node.name.startswith("test_")]


def breaches(name: str, rule: str) -> bool:
    """Whether the name of a test breaks the rule "words", "article" or "riddle"."""
    if not name.startswith("test_"):
        return False
    words = name.removeprefix("test_").split("_")
    if rule == "words":
        return len(words) > MOST_WORDS
    if rule == "article":
        return words[0] in ("a", "an", "the")
    if rule == "riddle":
        return RIDDLES.search(" ".join(words)) is not None
    raise ValueError(f"no rule named {rule}")


WORDS = read_table(TABLE.read_text("utf-8"))


@pytest.mark.parametrize("word", WORDS, ids=[word.pattern for word in WORDS])
def test_word_occurs_within_budget(word):
    counted = list(places(word, ROOT))
    listed = "\n".join(map(str, counted[:MOST_LISTED]))
    rest = f"\n... `python {Path(__file__).name} --list '{word.pattern}'` lists all" * (len(counted) > MOST_LISTED)
    text = f"{len(counted)} of {word.pattern!r}, where {word.budget} are allowed; write: {word.use}\n{listed}{rest}"
    assert len(counted) <= word.budget, text


def test_places_of_small_tree_are_found_by_line(tmp_path):
    (tmp_path / "packages/x/src/x").mkdir(parents=True)
    (tmp_path / "docs").mkdir()
    (tmp_path / "packages/x/src/x/a.py").write_text("def f(told):\n    found = [told]\n    found = f'{told}'\n")
    (tmp_path / "docs/a.md").write_text("It was Told.\nUntold, tolderol; was_told_by.\nNo ground truth; the truth.\n")
    (tmp_path / "README.md").write_text("Nothing.\n")
    assert [(p.file, p.line) for p in places(Word("told", "", 0), tmp_path)] == [
        ("packages/x/src/x/a.py", 1),
        ("packages/x/src/x/a.py", 2),
        ("packages/x/src/x/a.py", 3),
        ("docs/a.md", 1),
        ("docs/a.md", 2),
    ]
    assert [p.line for p in places(Word("name:told|found", "", 0), tmp_path)] == [1, 2]
    assert len(list(places(Word("(?<!ground.)truth", "", 0), tmp_path))) == 1


def test_names_of_tests_break_rules():
    assert breaches("test_a_b_c_d_e_f_g_h_i_j", "words")
    assert not breaches("test_rpn_uses_train_topk_when_targets_given", "words")
    assert breaches("test_the_box", "article")
    assert not breaches("test_theory", "article")
    assert breaches("test_model_says_no", "riddle")
    assert not breaches("test_model_essays", "riddle")
    assert not breaches("a_helper", "article")


def test_budgets_are_only_lowered_by_write():
    text = "# remark\n\ntold -> given -> 3\nseen -> size -> 1\n"
    counts = {"told": 2, "seen": 5}
    assert with_budgets(text, counts, lower_only=True) == "# remark\n\ntold -> given -> 2\nseen -> size -> 1\n"
    assert with_budgets(text, counts, lower_only=False) == "# remark\n\ntold -> given -> 2\nseen -> size -> 5\n"


def main(arguments: list[str]) -> None:
    """The commands of the docstring."""
    if arguments[:1] == ["--list"]:
        pattern = arguments[1]
        sys.stdout.writelines(f"{place}\n" for place in places(Word(pattern, "", 0), ROOT))
    elif arguments in (["--write"], ["--init"]):
        counts = {word.pattern: sum(1 for _ in places(word, ROOT)) for word in WORDS}
        TABLE.write_text(with_budgets(TABLE.read_text("utf-8"), counts, arguments == ["--write"]), "utf-8")
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])

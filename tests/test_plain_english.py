"""The prose of the project is plain technical English: no archaic turns of a fixed list."""

import ast
import functools
import io
import json
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]

# Each pattern is searched without case; a space matches a line break too.
ARCHAIC = {
    name: re.compile(pattern.replace(" ", r"\s+"), re.IGNORECASE)
    for name, pattern in {
        "told, tells": r"\b(told|tells?|telling)\b(?! apart)",
        "nobody": r"\b(nobody|naught|nought)\b",
        "is no X": r"(?<!there\s)\b(is|are|was|were) no (?!longer|more|fewer|less|later)\w",
        "is none": r"(?<!there\s)\b(is|are|was|were) (?-i:none)\b",
        "so many": r"\b(so (many|much)|as (many|much) again)\b",
        "of use": r"\b(of (any |no )?use\b(?! of)|in vain|(any|no) good)\b",
        "shall": r"\b(shall|lest|thereof|whence|thence|hence|thus|anew|ere|upon|be it)\b",
        "whoever": r"\b(whoever|whosoever|whomever|whom)\b",
        "as it likes": r"\bas (it|they|he|she|one|you) likes?\b",
        "have it told": r"\b(have|has|had|having) (it|them|him|her) \w+(ed|ld|nt)\b",
        "is asked for": r"\b(is|are|was|were|be|been) asked (for|of|about|again|once|twice)\b",
        "but for": r"(?<!all\s)\b(but|save) for\b",
        "comes to its end": r"\bcom(es?|ing) to (its|an|their|the) end\b|\bin (the|its) midst\b",
        "goes on": r"\b(go|goes|going|went|gone) on\b",
        "hands on": r"\bhand(s|ed|ing)? (on|over)\b",
        "can be had": r"\b(can|cannot|could|may|to|not) be had\b",
        "at the most": r"\bat the (most|least)\b",
        "need not": r"\bneed not\b|\bmay not but\b|\bfor ever\b",
    }.items()
}
# A docstring begins with what the code does: Return, Add, Start, Stop, Record, Notify, Raise.
OPENING = re.compile(r"\s*(Takes?|Gives?|Says?|Have|Has|Lets?|Tells?)\b")
# What the list catches and yet is meant as it stands: (file, text, reason). At most ten.
ALLOWED: list[tuple[str, str, str]] = []
# Hits that are not mended yet, by file or folder; a number may only fall.
REMAINING: dict[str, int] = {}


class Prose(NamedTuple):
    """A docstring, a comment, a message or a document, and the line where it begins."""

    path: str
    line: int
    text: str
    docstring: bool = False


def prose_of_python(path: str, source: str, *, messages: bool) -> Iterator[Prose]:
    """Yield docstrings, blocks of comments, and with `messages` texts of at least three words."""
    tree = ast.parse(source)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    bodies = [node.body for node in ast.walk(tree) if isinstance(node, documented)]
    docstrings = {body[0].value for body in bodies if body and isinstance(body[0], ast.Expr)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            continue
        if node in docstrings or (messages and node.value.count(" ") >= 2):
            yield Prose(path, node.lineno, node.value, docstring=node in docstrings)
    yield from _comments(path, source)


def _comments(path: str, source: str) -> Iterator[Prose]:
    """Yield comments; those on lines of their own that follow each other are one text."""
    block: list[str] = []
    first = last = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        line = token.start[0]
        if block and (line != last + 1 or not token.line.lstrip().startswith("#")):
            yield Prose(path, first, "\n".join(block))
            block = []
        first, last = line if not block else first, line
        block.append(token.string.lstrip("#: "))
    if block:
        yield Prose(path, first, "\n".join(block))


@functools.cache
def prose() -> tuple[Prose, ...]:
    """Return all prose of the project."""
    return tuple(_prose())


def _prose() -> Iterator[Prose]:
    for folder in ("tvDatafeed", "examples", "tests"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path != Path(__file__):
                name, source = path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
                yield from prose_of_python(name, source, messages=folder != "tests")
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")]:
        yield Prose(path.relative_to(ROOT).as_posix(), 1, path.read_text(encoding="utf-8"))
    for path in ROOT.glob("examples/**/*.ipynb"):
        name = path.relative_to(ROOT).as_posix()
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            yield Prose(name, 1, "".join(cell["source"]))


def hits(piece: Prose) -> list[str]:
    """Return path, line, turn and text of each archaic turn in a piece of prose."""
    found = [
        (match.start(), name, " ".join(match.group().split()))
        for name, pattern in ARCHAIC.items()
        for match in pattern.finditer(piece.text)
    ]
    opening = OPENING.match(piece.text) if piece.docstring else None
    if opening:
        found.append((0, "first word of a docstring", opening.group(1)))
    allowed = {text for path, text, _reason in ALLOWED if path == piece.path}
    return [
        f"{piece.path}:{piece.line + piece.text.count(chr(10), 0, start)}: {name}: {text!r}"
        for start, name, text in sorted(found)
        if not any(a in " ".join(piece.text.split()) and text in a for a in allowed)
    ]


def test_the_prose_of_the_project_has_no_archaic_turn():
    """Docstrings, comments, messages and documents pass the list, except explained hits."""
    found = [hit for piece in prose() for hit in hits(piece)]
    for place, number in REMAINING.items():
        left = [hit for hit in found if hit.startswith(place)]
        found = [hit for hit in found if not hit.startswith(place)]
        assert len(left) <= number, "\n".join(left)
    assert not found, f"{len(found)} archaic turns:\n" + "\n".join(found)


def test_few_hits_are_allowed_and_each_of_them_is_still_there():
    """The explained list has at most ten entries, each with a reason and a place."""
    assert len(ALLOWED) <= 10
    texts = {}
    for piece in prose():
        texts[piece.path] = texts.get(piece.path, "") + " ".join(piece.text.split())
    for path, text, reason in ALLOWED:
        assert reason
        assert text in texts[path], f"{path} does not say {text!r} any more"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('"""Say what is wrong."""', ["m.py:1: first word of a docstring: 'Say'"]),
        ('"""Return it.\n\n    Who is\n    told of it.\n    """', ["m.py:4: told, tells: 'told'"]),
        ("x = 1\n# A text which is\n# no symbol.\n", ["m.py:2: is no X: 'is no s'"]),
        ('raise ValueError("nobody knows it")', ["m.py:1: nobody: 'nobody'"]),
        ('"""Return the bars. There is no limit, and it is no longer."""', []),
        ("told = 1  # a name is not prose\n", []),
    ],
)
def test_the_list_finds_turns_in_docstrings_comments_and_messages(source, expected):
    """A hit names file, line and turn, also where a line break stands in the turn."""
    pieces = prose_of_python("m.py", source, messages=True)
    assert [hit for piece in pieces for hit in hits(piece)] == expected

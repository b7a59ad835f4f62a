"""The floors of the house: an import goes down, never up, never in a circle."""

import ast
import io
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "tvDatafeed"
# Lines of code; docstrings, comments and blank lines make a module longer, not larger.
MAX_LINES = 400

# A package's floor is that of its modules. Whoever adds a module says here where it stands.
FLOORS = {
    "cli": 7,
    "__main__": 7,
    "__init__": 6,
    "datafeed": 6,
    "main": 5,
    "live": 5,
    "symbology": 4,
    "frames": 4,
    "query": 3,
    "auth": 4,
    "consumer": 5,
    "network": 4,
    "testing": 4,
    "protocol": 3,
    "progress": 3,
    "seis": 5,
    "validators": 3,
    "config": 2,
    "interval": 2,
    "ratelimit": 2,
    "utils": 2,
    "common": 1,
    "exceptions": 1,
}
# The folders of the loopback TradingView, and the modules at its top.
TESTING_FLOORS = {
    "__init__": 7,
    "server": 6,
    "connection": 5,
    "context": 4,
    "routes": 4,
    "sessions": 3,
    "accounts": 2,
    "faults": 2,
    "journal": 1,
    "market": 0,
    "wire": 0,
}
# Who may import what from outside, where not everyone may.
IMPORTERS = {
    "websocket": {"network.websocket"},
    "pandas": {"frames.bars", "frames.history", "frames.quotes", "frames.search"},
    "requests": {"network.http"},
    "urllib3": {"network.http"},
}
# The wire knows no I/O, no threads and no clock.
FORBIDDEN_IN_PROTOCOL = {
    "asyncio",
    "datetime",
    "numpy",
    "os",
    "pandas",
    "queue",
    "requests",
    "select",
    "selectors",
    "socket",
    "ssl",
    "threading",
    "time",
    "websocket",
}
ENVIRONMENT = {"environ", "environb", "getenv", "getenvb"}


@dataclass(frozen=True)
class Module:
    """One source file; its name is dotted, without the package's."""

    name: str
    text: str
    tree: ast.Module

    @property
    def room(self):
        """The part of the name that has a floor."""
        return self.name.partition(".")[0]


def _modules() -> Iterator[Module]:
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        yield Module(name, text, ast.parse(text))


MODULES = {module.name: module for module in _modules()}
every_module = pytest.mark.parametrize("module", MODULES.values(), ids=MODULES)


def imports_of(module):
    """The dotted names of all that a module imports when it runs, however deep inside."""
    return set(_imports(module.tree, module.name))


def _imports(node, importer):
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and _is_type_checking(child.test):
            children = child.orelse
        elif isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
            continue
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"{importer} has a relative import"
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
            continue
        else:
            children = [child]
        for inner in children:
            yield from _imports(inner, importer)


def _is_type_checking(test):
    return isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"


def inner_imports_of(module):
    """The modules of this package that a module imports."""
    for name in imports_of(module):
        package, _dot, inner = name.partition(".")
        if package != "tvDatafeed":
            continue
        # The last part may be a name inside a module, or inside a package's __init__.
        parent = inner.rpartition(".")[0]
        candidates = (inner, f"{inner}.__init__", parent, f"{parent}.__init__", "__init__")
        yield next(candidate for candidate in candidates if candidate in MODULES)


def outer_imports_of(module):
    """The top-level names of all other libraries that a module imports."""
    return {name.partition(".")[0] for name in imports_of(module)} - {"tvDatafeed"}


def lines_of_code(module):
    """How many lines hold code."""
    tokens = tokenize.generate_tokens(io.StringIO(module.text).readline)
    code = {
        line for t in tokens if t.string.strip() and t.type != tokenize.COMMENT for line in _span(t)
    }
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = (
        node.body[0]
        for node in ast.walk(module.tree)
        if isinstance(node, documented) and ast.get_docstring(node) is not None
    )
    return len(code.difference(*(range(d.lineno, d.end_lineno + 1) for d in docstrings)))


def _span(token):
    return range(token.start[0], token.end[0] + 1)


def test_every_room_has_a_floor():
    """Each module stands on a floor."""
    assert {module.room for module in MODULES.values()} <= FLOORS.keys()


@every_module
def test_imports_go_down(module):
    """No module imports from a floor above its own."""
    above = {
        name
        for name in inner_imports_of(module)
        if FLOORS[MODULES[name].room] > FLOORS[module.room]
    }
    assert above == set()


def test_no_circles():
    """No module imports itself by way of others."""
    graph = {name: set(inner_imports_of(module)) for name, module in MODULES.items()}
    assert list(TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("testing.")])
def test_imports_of_the_loopback_server_go_down(name):
    """A module of the loopback server imports lower floors, or its own folder."""
    room = name.split(".")[1]
    imported = {
        n.split(".")[1] for n in inner_imports_of(MODULES[name]) if n.startswith("testing.")
    }
    above = {n for n in imported - {room} if TESTING_FLOORS[n] >= TESTING_FLOORS[room]}
    assert above == set()


@every_module
def test_testing_and_command_line_are_imported_by_the_command_line_alone(module):
    """The library itself needs neither its test server nor its command line."""
    rooms = {MODULES[name].room for name in inner_imports_of(module)} - {module.room}
    if FLOORS[module.room] < FLOORS["cli"]:
        assert rooms.isdisjoint({"testing", *(r for r in FLOORS if FLOORS[r] == FLOORS["cli"])})


@pytest.mark.parametrize("library", IMPORTERS)
def test_libraries_with_one_door(library):
    """A library that has to be handled with care is imported in one place."""
    importers = {m.name for m in MODULES.values() if library in outer_imports_of(m)}
    assert importers == IMPORTERS[library]


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("protocol.")])
def test_protocol_is_silent(name):
    """The protocol's modules can neither wait, nor read a clock, nor touch a socket or a file."""
    assert outer_imports_of(MODULES[name]).isdisjoint(FORBIDDEN_IN_PROTOCOL)


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("protocol.")])
def test_protocol_reads_no_settings(name):
    """The protocol's modules receive every limit as an argument."""
    assert "config" not in inner_imports_of(MODULES[name])


@every_module
def test_environment_has_one_reader(module):
    """Only the configuration reads the environment."""
    names = {node.attr for node in ast.walk(module.tree) if isinstance(node, ast.Attribute)}
    imported = {name.rpartition(".")[2] for name in imports_of(module) if name.startswith("os.")}
    if module.name != "config":
        assert (names | imported).isdisjoint(ENVIRONMENT)


@every_module
def test_modules_stay_small(module):
    """A module that has grown past 400 lines of code holds something that lives elsewhere."""
    assert lines_of_code(module) <= MAX_LINES


@every_module
def test_outer_libraries_are_declared(module):
    """What a module imports is in the standard library or among the declared dependencies."""
    project = (PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8")
    distributions = {"dotenv": "python-dotenv", "websocket": "websocket-client"}
    for library in outer_imports_of(module) - set(sys.stdlib_module_names):
        assert f'"{distributions.get(library, library)}>=' in project

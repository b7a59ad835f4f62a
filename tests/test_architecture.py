"""The architecture: which folder may import which, and what may be imported at all."""

import ast
import functools
import io
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "tvDatafeed"
# Lines of code; docstrings, comments and blank lines make a module longer, not larger.
MAX_LINES = 400

# The rooms: folders, and the files that stand beside them. From top to bottom. An import goes to a
# lower floor or stays inside its folder; rooms on one floor do not import each other.
FLOORS = (
    {"__main__"},
    {"cli"},
    {"__init__"},
    {"metrics"},
    {"datafeed", "seis", "consumer"},
    {"main", "live"},
    {"store", "delivery"},
    {"frames", "symbology"},
    {"query", "auth"},
    {"network", "testing", "validators"},
    {"protocol", "config", "ratelimit", "utils"},
    {"common", "interval"},
    {"exceptions"},
)
# The same for the folders of the loopback TradingView, and the files beside them.
TESTING_FLOORS = (
    {"__init__"},
    {"server"},
    {"replaying"},
    {"connection"},
    {"context", "routes"},
    {"sessions"},
    {"accounts", "faults"},
    {"journal"},
    {"market", "tdengine", "wire"},
)
# The modules that may import a library which is imported in one place only.
DOORS = {
    "websocket": {"network.websocket"},
    "requests": {"network.http"},
    "urllib3": {"network.http"},
    "pandas": {
        "frames.bars",
        "frames.history",
        "frames.joining",
        "frames.quotes",
        "frames.rows",
        "frames.search",
    },
    "shtab": {"cli.completion"},
    "sqlite3": {"common.sqlitefile"},
    "psycopg": {"store.postgres"},
    "redis": {"delivery.redisserver"},
    "pyarrow": {"store.parquet"},
    "fastapi": {"store.web"},
    "uvicorn": {"store.web"},
    "prometheus_client": {"common.prometheus"},
}
# The wire without I/O, threads and clock.
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

    @functools.cached_property
    def tree(self):
        return ast.parse(self.text)

    @property
    def room(self):
        """The folder, or the file beside the folders."""
        return self.name.partition(".")[0]


def _modules() -> Iterator[Module]:
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        yield Module(name, path.read_text(encoding="utf-8"))


MODULES = {module.name: module for module in _modules()}


def breaches(modules):
    """Return a sentence for each import that breaks the floors, and for each circle."""
    graph = {m.name: inner_imports(m, modules) for m in modules.values()}
    found = [
        f"{importer} imports {imported}, which is not on a lower floor"
        for importer, names in graph.items()
        for imported in sorted(names)
        if not _goes_down(_rooms(importer), _rooms(imported), FLOORS)
        or not _goes_down(_rooms(importer)[1:], _rooms(imported)[1:], TESTING_FLOORS)
    ]
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found.append(f"a circle: {' -> '.join(error.args[1])}")
    return found


def _rooms(name):
    """Return the room of a module, and inside `testing` its room there."""
    room, _, inner = name.partition(".")
    return (room, inner.partition(".")[0]) if room == "testing" else (room,)


def _goes_down(importer, imported, floors):
    if not importer or not imported or importer[0] == imported[0]:
        return True
    return _floor(importer[0], floors) < _floor(imported[0], floors)


def _floor(room, floors):
    return next(number for number, rooms in enumerate(floors) if room in rooms)


def inner_imports(module, modules):
    """Return the modules of this package that a module imports, for its types alone included."""
    return {
        # The last part of a name may stand inside a module, or inside a folder's __init__.
        next(c for c in (n, f"{n}.__init__", p, f"{p}.__init__", "__init__") if c in modules)
        for package, n in (name.split(".", 1) for name in imports_of(module) if "." in name)
        if package == "tvDatafeed"
        for p in [n.rpartition(".")[0]]
    }


@functools.cache
def imports_of(module, *, types=True):
    """Return the dotted names of all that a module imports, however deep inside."""
    return frozenset(_imports(module.tree, module.name, types=types))


def _imports(node, importer, *, types):
    for child in ast.iter_child_nodes(node):
        children = [child]
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"{importer} has a relative import"
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        elif not types and isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            children = child.orelse
        for inner in children:
            yield from _imports(inner, importer, types=types)


def outer_imports_of(module):
    """Return the top-level names of all other libraries that a module imports when it runs."""
    return {n.partition(".")[0] for n in imports_of(module, types=False)} - {"tvDatafeed"}


def lines_of_code(module):
    """Return how many lines hold code."""
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


def test_imports_go_down_and_make_no_circle():
    """Each import goes to a lower floor or stays in its folder; none leads back to its start."""
    assert breaches(MODULES) == []


@pytest.mark.parametrize(
    ("where", "line", "breach"),
    [
        pytest.param(
            "protocol.framing",
            "from tvDatafeed.network.pool import WebSocketManager",
            "protocol.framing imports network.pool, which is not on a lower floor",
            id="up",
        ),
        pytest.param(
            "frames.bars",
            "from tvDatafeed.symbology import search",
            "frames.bars imports symbology.search, which is not on a lower floor",
            id="same floor",
        ),
        pytest.param(
            "query.view",
            "if TYPE_CHECKING:\n    from tvDatafeed.frames.bars import LiveRows",
            "query.view imports frames.bars, which is not on a lower floor",
            id="for types alone",
        ),
        pytest.param(
            "network.sockets",
            "def connect():\n    from tvDatafeed.network.websocket import dial",
            "a circle: ",
            id="circle inside a folder, in a function",
        ),
        pytest.param(
            "testing.wire.http11",
            "import tvDatafeed.testing.server",
            "testing.wire.http11 imports testing.server, which is not on a lower floor",
            id="up inside the loopback server",
        ),
        pytest.param(
            "main",
            "from tvDatafeed.testing import FakeTradingView",
            None,
            id="a lower floor",
        ),
    ],
)
def test_breach_is_found(where, line, breach):
    """An import that goes up, sideways or in a circle is reported; one that goes down is not."""
    changed = MODULES | {where: Module(where, f"{MODULES[where].text}\n{line}\n")}
    found = breaches(changed)
    assert found == [] if breach is None else any(text.startswith(breach) for text in found)


def test_testing_is_imported_by_the_command_line_alone():
    """The library itself needs no test server."""
    importers = {
        module.room
        for module in MODULES.values()
        if any(name.startswith("testing.") for name in inner_imports(module, MODULES))
    }
    assert importers == {"testing", "cli"}


@pytest.mark.parametrize("library", DOORS)
def test_libraries_with_one_door(library):
    """A library that has to be handled with care is imported in one place."""
    importers = {m.name for m in MODULES.values() if library in outer_imports_of(m)}
    assert importers == DOORS[library]


def test_protocol_is_silent():
    """The protocol's modules can neither wait, nor read a clock, nor touch a socket or a file."""
    protocol = [module for module in MODULES.values() if module.room == "protocol"]
    imported = {library for module in protocol for library in outer_imports_of(module)}
    assert imported & FORBIDDEN_IN_PROTOCOL == set()


def test_environment_has_one_reader():
    """Only the configuration reads the environment."""
    readers = set()
    for module in MODULES.values():
        imported = {n.rpartition(".")[2] for n in imports_of(module) if n.startswith("os.")}
        if not (attributes_of(module) | imported).isdisjoint(ENVIRONMENT):
            readers.add(module.name)
    assert readers == {"config"}


def attributes_of(module):
    """Return the names of all attributes that a module uses."""
    return {node.attr for node in ast.walk(module.tree) if isinstance(node, ast.Attribute)}


def test_locks_are_plain():
    """A condition waits and notifies: `with` gives it back only when no Ctrl-C comes between."""
    entered = {
        (module.name, ast.unparse(item.context_expr))
        for module in MODULES.values()
        if module.room != "testing"  # whose waits a test may interrupt, and then ends it
        for node in ast.walk(module.tree)
        if isinstance(node, ast.With)
        for item in node.items
    }
    assert {(m, text) for m, text in entered if text.endswith(("changed", "condition"))} == set()
    # Nothing polls a lock either.
    assert {m.name for m in MODULES.values() if "locked" in attributes_of(m)} == set()


def test_modules_stay_small():
    """A module that has grown past 400 lines of code holds something that lives elsewhere."""
    sizes = {module.name: lines_of_code(module) for module in MODULES.values()}
    assert {name: size for name, size in sizes.items() if size > MAX_LINES} == {}


def test_common_helpers_know_nothing_of_tradingview():
    """The folder of common helpers would serve any client of any server."""
    common = [module for module in MODULES.values() if module.room == "common"]
    assert len(common) > 1
    assert [module.name for module in common if "TradingView" in module.text] == []


def test_outer_libraries_are_declared():
    """What a module imports is in the standard library or among the declared dependencies."""
    project = (PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8")
    names = {
        "dotenv": "python-dotenv",
        "prometheus_client": "prometheus-client",
        "psycopg": "psycopg[binary]",
        "websocket": "websocket-client",
    }
    libraries = set().union(*(outer_imports_of(m) for m in MODULES.values()))
    missing = libraries - set(sys.stdlib_module_names)
    assert {n for n in missing if f'"{names.get(n, n)}>=' not in project} == set()

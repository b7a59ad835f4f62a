"""Docstrings of the public API: each parameter is there, and each number says what it counts."""

import enum
import inspect
import re
import typing

import pytest

import tvDatafeed
import tvDatafeed.config
import tvDatafeed.delivery
import tvDatafeed.metrics
import tvDatafeed.testing

PACKAGES = (
    tvDatafeed,
    tvDatafeed.testing,
    tvDatafeed.config,
    tvDatafeed.delivery,
    tvDatafeed.metrics,
)
UNITS = re.compile(
    r"\b(seconds?|minutes?|hours?|bars?|bytes|prices?|volume|symbols?|requests?|connections?|times|"
    r"results?|contracts?|failures?|messages?|sessions?|polls?|number of|how many|in a row|sends?|"
    r"handshakes|epoch|tries|code|characters|number)\b|As (there|for|given|the)",
    re.IGNORECASE,
)
SECTION = re.compile(
    r"^(Parameters|Attributes)\n-+\n(.*?)(?=^\w+\n-+\n|\Z)", re.DOTALL | re.MULTILINE
)
NUMBERS = (int, float)


def public_callables():
    """Every class, its methods, and every function of the public names."""
    for package in PACKAGES:
        for name in getattr(package, "__all__", ()):
            value = getattr(package, name)
            if inspect.isclass(value) and not issubclass(value, enum.Enum):
                yield f"{package.__name__}.{name}", value, value.__init__
                for inner, method in vars(value).items():
                    function = getattr(method, "__func__", method)
                    if not inner.startswith("_") and inspect.isfunction(function):
                        yield f"{package.__name__}.{name}.{inner}", function, function
            elif inspect.isfunction(value):
                yield f"{package.__name__}.{name}", value, value


CALLABLES = {name: (documented, function) for name, documented, function in public_callables()}


def documented_parameters(documented):
    """What a docstring says of each parameter: type and text; of a class, its bases' too."""
    described = {}
    for one in reversed(
        inspect.getmro(documented) if inspect.isclass(documented) else [documented]
    ):
        text = inspect.cleandoc(one.__doc__ or "")
        for _title, section in SECTION.findall(text):
            for head, body in re.findall(r"^(\S.*)\n((?:(?:    .*)?\n?)*)", section, re.MULTILINE):
                names, _, kind = head.partition(" : ")
                for name in names.split(","):
                    described[name.strip(" *`")] = f"{kind} {body}"
    return described


def parameters(function):
    signature = inspect.signature(function)
    return [p for p in signature.parameters.values() if p.name not in {"self", "cls"}]


@pytest.mark.parametrize("name", CALLABLES)
def test_every_parameter_is_described(name):
    """By its own name, where the docstring has parameters at all."""
    documented, function = CALLABLES[name]
    if not hasattr(function, "__code__") or not documented.__doc__:
        return  # what Python itself has
    described = documented_parameters(documented)
    missing = [p.name for p in parameters(function) if p.name not in described]
    is_short = "\n" not in (documented.__doc__ or "").strip()
    assert not missing or (is_short and not described), missing


def is_a_number(annotation):
    kinds = typing.get_args(annotation) or (annotation,)
    return any(kind in NUMBERS for kind in kinds)


@pytest.mark.parametrize("name", CALLABLES)
def test_every_number_has_a_unit(name):
    """Seconds, bars, bytes: what a number counts stands with it."""
    documented, function = CALLABLES[name]
    try:
        hints = typing.get_type_hints(function)
    except NameError:  # a type that only type checkers import
        hints = {}
    described = documented_parameters(documented)
    without = [
        p.name
        for p in parameters(function)
        if is_a_number(hints.get(p.name))
        and p.name in described
        and not p.name.endswith(("_s", "_ms", "_seconds"))
        and not UNITS.search(described[p.name])
    ]
    assert without == []

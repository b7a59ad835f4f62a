"""What the reference prints of a signature: no default argument prints a listing."""

import importlib
import inspect
import pkgutil

import pytest

import tvDatafeed
import tvDatafeed.testing

MODULES = sorted(
    {
        "tvDatafeed",
        *(
            module.name
            for module in pkgutil.walk_packages(tvDatafeed.__path__, "tvDatafeed.")
            if not module.name.endswith("__main__")
        ),
    }
)
# The reference shows a signature without annotations in its lists, and with them below.
MAX_PLAIN = 700
MAX_ANNOTATED = 1500
MAX_DEFAULT = 120
MAX_CONSTANT = 5000


def callables(module):
    """The functions and classes of a module, and what these have, by their names."""
    for name, value in vars(module).items():
        if getattr(value, "__module__", None) != module.__name__:
            continue
        yield name, value
        for inner, method in vars(value).items() if inspect.isclass(value) else ():
            yield f"{name}.{inner}", getattr(method, "__func__", method)


def signatures(module):
    """The signatures of a module, by their names."""
    for name, value in callables(module):
        if callable(value):
            try:
                yield name, inspect.signature(value)
            except (ValueError, TypeError):  # what is written in C
                continue


def plain(signature):
    """Return a signature without its annotations."""
    parameters = signature.parameters.values()
    bare = [each.replace(annotation=inspect.Parameter.empty) for each in parameters]
    return inspect.Signature(bare)


@pytest.mark.parametrize("name", MODULES)
def test_signatures_are_short(name):
    """No signature and no default is longer than a reader takes in."""
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:  # an extra that is not installed
        pytest.skip(str(error))
    too_long = [
        path
        for path, signature in signatures(module)
        if len(str(plain(signature))) > MAX_PLAIN
        or len(str(signature)) > MAX_ANNOTATED
        or any(len(repr(each.default)) > MAX_DEFAULT for each in signature.parameters.values())
    ]
    assert too_long == []


def test_the_market_has_a_short_repr_and_is_still_a_tuple():
    """The listings are what they were, and their repr says how many they are."""
    listings = tvDatafeed.testing.LISTINGS
    assert isinstance(listings, tuple)
    assert listings == tuple(iter(listings))
    assert f"{len(listings)} listings" in repr(listings)
    assert repr(listings[0]).startswith("Listing(")


@pytest.mark.parametrize("package", [tvDatafeed, tvDatafeed.testing], ids=lambda p: p.__name__)
def test_constants_are_short(package):
    """The reference prints the values of constants."""
    names = [name for name in package.__all__ if name.isupper()]
    assert [name for name in names if len(repr(getattr(package, name))) > MAX_CONSTANT] == []

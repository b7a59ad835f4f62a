"""What `dir` and tab completion list of an object."""

from collections.abc import Iterable


class ListsPublicNames:
    """A base of classes whose objects list their public names, and those of the language."""

    def __dir__(self) -> Iterable[str]:
        # With those of the language: mocks that imitate an object look for `__enter__` there.
        return [n for n in super().__dir__() if n.startswith("__") or not n.startswith("_")]

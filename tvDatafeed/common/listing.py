"""The names that `dir` and tab completion list for an object."""

from collections.abc import Iterable


class ListsPublicNames:
    """Base of classes whose objects list only their public and special names."""

    def __dir__(self) -> Iterable[str]:
        # Includes special names: mocks of an object look for `__enter__` there.
        return [n for n in super().__dir__() if n.startswith("__") or not n.startswith("_")]

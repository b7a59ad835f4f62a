"""The repair of objects in a forked child before it uses them.

A fork copies locked locks, but the threads that hold them do not exist in the child.
"""

import os
import weakref
from collections.abc import Callable
from typing import Any

# Not a WeakMethod, which may fail while the interpreter ends.
_methods: "dict[object, tuple[weakref.ref[Any], Callable[[Any], None]]]" = {}


def call_in_forked_child(method: Callable[[], None]) -> None:
    """Call a bound method in every child that is forked from now on.

    The object is referenced weakly. The methods are called in any order before the child's own code
    runs, so they must not use other registered objects.
    """
    key = object()

    # Names are bound here, since the module's names may be gone when the interpreter ends.
    def forget(_reference: object, methods: Any = _methods, key: object = key) -> None:
        methods.pop(key, None)

    owner: Any = method.__self__  # type: ignore[attr-defined]  # a bound method
    function: Callable[[Any], None] = method.__func__  # type: ignore[attr-defined]
    _methods[key] = weakref.ref(owner, forget), function


def _call_all() -> None:
    for reference, function in list(_methods.values()):
        owner = reference()
        if owner is not None:
            function(owner)


# Windows has no fork.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_call_all)

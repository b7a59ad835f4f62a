"""What a forked child has to do before it uses objects that its parent made.

A fork copies locks as they are, and the threads that held them are not in the child.
"""

import os
import weakref
from collections.abc import Callable
from typing import Any

_methods: "set[weakref.WeakMethod[Any]]" = set()


def call_in_forked_child(method: Callable[[], None]) -> None:
    """Call a bound method in every child that is forked from now on.

    The object is referenced weakly. The methods are called in any order, each without help from
    other objects that are registered, and before the child's own code runs.
    """
    _methods.add(weakref.WeakMethod(method, _methods.discard))


def _call_all() -> None:
    for reference in list(_methods):
        method = reference()
        if method is not None:
            method()


# Windows has no fork.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_call_all)

"""Objects that belong to one process, since they have connections or threads."""

from typing import NoReturn


def refuse_copy(thing: object, client: str | None = None) -> NoReturn:
    """Raise on pickling or copying an object; for its ``__reduce__``.

    Parameters
    ----------
    thing
        The object.
    client
        The class that another process should create; default: the class of the object.

    Raises
    ------
    TypeError
        Always, with the next step.
    """
    name = type(thing).__name__
    raise TypeError(
        f"a {name} cannot be pickled or copied, as it holds connections and threads; "
        f"make one {client or name} per process, and share it between threads"
    )

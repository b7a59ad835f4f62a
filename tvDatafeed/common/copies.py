"""Objects that belong to one process, as they hold connections or threads."""

from typing import NoReturn


def refuse_copy(thing: object, client: str | None = None) -> NoReturn:
    """Refuse to pickle or copy an object; for its ``__reduce__``.

    Parameters
    ----------
    thing
        The object.
    client
        What another process makes instead; default: an object of the same class.

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

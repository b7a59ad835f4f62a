"""What happens once in a process, in whichever thread."""


class Once:
    """Answers True once.

    Examples
    --------
    >>> once = Once()
    >>> once.is_first(), once.is_first()
    (True, False)
    """

    def __init__(self) -> None:
        # To pop from a list is atomic.
        self._left = [None]

    def is_first(self) -> bool:
        """Whether this is the first call."""
        try:
            self._left.pop()
        except IndexError:
            return False
        return True

"""The frames of many symbols, and the errors of those without one."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tvDatafeed.exceptions import TvDatafeedError

if TYPE_CHECKING:
    import pandas as pd


class Frames(dict[str, "pd.DataFrame"]):
    """The frames of many symbols, by the symbols as they were asked for and in that order.

    Attributes
    ----------
    errors : dict of str to TvDatafeedError
        Why there is no frame of the others, by symbol, in that order too.
    """

    def __init__(
        self,
        frames: "Mapping[str, pd.DataFrame] | None" = None,
        errors: Mapping[str, TvDatafeedError] | None = None,
    ) -> None:
        super().__init__(frames or {})
        self.errors: dict[str, TvDatafeedError] = dict(errors or {})

    @classmethod
    def of(cls, results: "Mapping[str, pd.DataFrame | TvDatafeedError]") -> "Frames":
        """Sort results into frames and errors."""
        frames = cls()
        for name, result in results.items():
            if isinstance(result, TvDatafeedError):
                frames.errors[name] = result
            else:
                frames[name] = result
        return frames

    def __repr__(self) -> str:
        return f"<{len(self)} frames, {len(self.errors)} errors: {', '.join(self)}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self), self.errors)

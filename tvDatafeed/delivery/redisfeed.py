"""RedisFeed: the closed bars that a `RedisPublisher` shares, in the shape of a live feed."""

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from tvDatafeed.config import RedisConfig
from tvDatafeed.delivery.redissubscription import OnGap, RedisSeis
from tvDatafeed.interval import Interval
from tvDatafeed.query.dates import DateLike

if TYPE_CHECKING:
    import pandas as pd
    from typing_extensions import Self

__all__ = ["RedisFeed", "RedisSeis"]


class RedisFeed:
    """Reads the bars that a `RedisPublisher` publishes."""

    def __init__(
        self,
        url: str | None = None,
        *,
        prefix: str = "tvdatafeed",
        group: str | None = None,
        name: str | None = None,
        timezone: str | None = None,
        claim_after_s: float = 60.0,
        on_gap: OnGap | None = None,
        config: RedisConfig | None = None,
    ) -> None:
        raise NotImplementedError

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def subscribe(
        self,
        symbol: str,
        exchange: str,
        interval: Interval,
        callback: "Callable[[RedisSeis, pd.DataFrame], object] | None" = None,
        *,
        start: DateLike | None = None,
    ) -> RedisSeis:
        """Call a callback with each bar of a series; without one, `stream` yields them."""
        raise NotImplementedError

    def stream(self) -> "Generator[tuple[RedisSeis, pd.DataFrame]]":
        """Yield the bars of the subscriptions without a callback, until the feed is closed."""
        raise NotImplementedError

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the feed is closed; False when the time is over before."""
        raise NotImplementedError

    def close(self, timeout: float | None = None) -> bool:
        """Stop; return whether all threads have ended in time."""
        raise NotImplementedError

    def status(self) -> dict[str, Any]:
        """Return ``connected``, ``error`` and, for each of ``series``, last, queued and gaps."""
        raise NotImplementedError

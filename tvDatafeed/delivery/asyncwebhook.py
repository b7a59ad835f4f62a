"""AsyncWebhook: a `Webhook` for programs that use asyncio."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tvDatafeed.config import DeliveryConfig
from tvDatafeed.delivery.bars import Series
from tvDatafeed.delivery.outbox import Outbox
from tvDatafeed.delivery.retry import RetryPolicy
from tvDatafeed.delivery.webhook import DeliveryResult, Scheme, Webhook
from tvDatafeed.exceptions import OutboxFullError

if TYPE_CHECKING:
    import pandas as pd
    from typing_extensions import Self

__all__ = ["AsyncWebhook"]


class AsyncWebhook:
    """A `Webhook` whose methods are awaited; the event loop does not wait for the disk.

    Parameters
    ----------
    url, secret, outbox, scheme, headers, batch, policy, config
        As for `Webhook`.

    Examples
    --------
    ::

        async with AsyncWebhook("https://example.org/signals", secret) as hook:
            await hook.send("signal.created", {"side": "buy"})
    """

    def __init__(
        self,
        url: str | None = None,
        secret: str | Sequence[str] | None = None,
        *,
        outbox: "Outbox | str | os.PathLike[str] | None" = None,
        scheme: Scheme = "standard",
        headers: Mapping[str, str] | None = None,
        batch: int = 1,
        policy: RetryPolicy | None = None,
        config: DeliveryConfig | None = None,
    ) -> None:
        self._hook = Webhook(
            url,
            secret,
            outbox=outbox,
            scheme=scheme,
            headers=headers,
            batch=batch,
            policy=policy,
            config=config,
        )

    def __repr__(self) -> str:
        return f"<Async{repr(self._hook)[1:]}"

    async def __aenter__(self) -> "Self":
        return self

    async def __aexit__(self, kind: object, *_error: object) -> None:
        await self.close(None if kind is None else 0.0)

    @property
    def url(self) -> str:
        """Where messages are posted; it may hold a token."""
        return self._hook.url

    async def __call__(self, seis: Series, data: "pd.DataFrame") -> None:
        """Enqueue the closed bars of a frame; see `Webhook`."""
        await asyncio.to_thread(self._hook, seis, data)

    async def send(
        self,
        type: str,  # noqa: A002 - as in the message
        data: Any,
        *,
        key: str | None = None,
        lane: str | None = None,
    ) -> str:
        """Enqueue an event; see `Webhook.send`."""
        return await asyncio.to_thread(self._hook.send, type, data, key=key, lane=lane)

    def results(self, callback: Callable[[DeliveryResult], object]) -> None:
        """Call a callback with each result, in the event loop if one runs now."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._hook.results(callback)
            return

        def call(result: DeliveryResult) -> None:
            # The loop may have ended.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(callback, result)

        self._hook.results(call)

    def refusals(self, callback: Callable[[OutboxFullError], object]) -> None:
        """Call a callback with each message's refusal; see `Webhook.refusals`."""
        self._hook.refusals(callback)

    async def flush(self, timeout: float | None = None) -> bool:
        """Wait until the messages of now are delivered or dead; see `Webhook.flush`."""
        return await asyncio.to_thread(self._hook.flush, timeout)

    async def close(self, timeout: float | None = None) -> bool:
        """Send what waits, then stop; see `Webhook.close`."""
        return await asyncio.to_thread(self._hook.close, timeout)

    async def stats(self) -> dict[str, Any]:
        """Return figures of this destination; see `Webhook.stats`."""
        return await asyncio.to_thread(self._hook.stats)

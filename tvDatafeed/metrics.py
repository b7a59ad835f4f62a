"""Figures of a client, its feed, a store and an outbox for Prometheus, and a server for them.

The extra ``metrics`` installs what it needs: ``pip install "tvdatafeed[metrics]"``.
"""

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeGuard

from tvDatafeed.exceptions import ConfigurationError, TvDatafeedError
from tvDatafeed.main import TvDatafeed

if TYPE_CHECKING:
    from typing_extensions import Self

    from tvDatafeed.common.prometheus import Family
    from tvDatafeed.datafeed import TvDatafeedLive
    from tvDatafeed.delivery.outbox import Outbox
    from tvDatafeed.delivery.webhook import Webhook
    from tvDatafeed.live.health import Health
    from tvDatafeed.live.status import SeisStatus
    from tvDatafeed.store.barstore import BarStore

__all__ = ["MetricsServer", "TvDatafeedCollector"]

logger: logging.Logger = logging.getLogger(__name__)

_STATES = ("STARTING", "LIVE", "RECONNECTING", "FAILED", "STOPPED")
_DESTINATION_STATES = ("ok", "failing", "disabled")
# Seconds for the requests under way when the server is closed.
_CLOSE_S = 5.0


class TvDatafeedCollector:
    """The figures of a client, its store, webhook and outbox, at the moment of a request.

    Register it with a registry of prometheus_client. Asking never raises, sends nothing to
    TradingView and takes milliseconds; a store on another server is asked there. A part that fails
    is left out, and its ``..._up`` is 0.

    Labels are the symbol, exchange and interval of each Seis, the states of a Seis and of a
    destination, and the classes of errors; no URL is in them.

    Parameters
    ----------
    tvl : TvDatafeed or TvDatafeedLive
        The client; of a `TvDatafeedLive` also its feed.
    store : BarStore, optional
        A store. Default: none.
    webhook : Webhook, optional
        A webhook. Default: none.
    outbox : Outbox, optional
        An outbox. Default: none.

    Raises
    ------
    ConfigurationError
        The package prometheus_client is not installed.

    Examples
    --------
    >>> from prometheus_client import CollectorRegistry
    >>> from tvDatafeed import TvDatafeed
    >>> registry = CollectorRegistry()
    >>> with TvDatafeed() as tv:
    ...     registry.register(TvDatafeedCollector(tv))
    ...     registry.get_sample_value("tvdatafeed_client_requests_total")
    0.0
    """

    def __init__(
        self,
        tvl: "TvDatafeed | TvDatafeedLive",
        store: "BarStore | None" = None,
        webhook: "Webhook | None" = None,
        outbox: "Outbox | None" = None,
    ) -> None:
        _check_installed()
        self._parts: list[tuple[str, Callable[[], Iterable[Family]]]] = [
            ("client", lambda: _client_figures(tvl.stats()))
        ]
        if _has_feed(tvl):
            self._parts.append(("feed", lambda: _feed_figures(tvl.health())))
        if store is not None:
            self._parts.append(("store", lambda: _store_figures(store)))
        if outbox is not None:
            self._parts.append(("outbox", lambda: _outbox_figures(outbox.stats())))
        if webhook is not None:
            self._parts.append(("webhook", lambda: _webhook_figures(webhook.stats())))

    def collect(self) -> "Iterator[Family]":
        """Yield the figures of this moment.

        Yields
        ------
        prometheus_client.Metric
            One after the other.
        """
        from tvDatafeed.common.prometheus import gauge  # noqa: PLC0415 - an extra

        for part, figures in self._parts:
            name, text = f"tvdatafeed_{part}_up", f"Whether the {part} can be read."
            try:
                families = list(figures())
            except Exception as error:  # noqa: BLE001 - the other figures are wanted all the more
                logger.debug("the figures of the %s cannot be read: %r", part, error)
                yield gauge(name, text, 0)
                continue
            if part != "store":  # whose figures hold it
                yield gauge(name, text, 1)
            yield from families


class MetricsServer:
    """Serves ``/metrics`` for Prometheus and ``/health`` for a load balancer or a container.

    ``/health`` is JSON, `Health.as_dict` of the feed: with status 200 while it is ok, and else 503.
    The server runs in threads of its own until it is closed. It asks for no password, and what it
    shows is not secret: let only the machines reach it that read it.

    Parameters
    ----------
    tvl : TvDatafeedLive
        The client.
    port : int
        The port, 0 to 65535; 0 for a free one.
    host : str, default "127.0.0.1"
        The address to listen on; "0.0.0.0" for all of this machine, as in a container.
    store, webhook, outbox
        As for `TvDatafeedCollector`.

    Attributes
    ----------
    host : str
        The address that it listens on.
    port : int
        The number of the port that it listens on.

    Raises
    ------
    ConfigurationError
        The port cannot be used, such as when another program does; or the package
        prometheus_client is not installed.

    Examples
    --------
    >>> import json
    >>> from urllib.request import urlopen
    >>> from tvDatafeed import TvDatafeedLive
    >>> with TvDatafeedLive() as tvl, MetricsServer(tvl, 0) as server:
    ...     with urlopen(f"{server.url}/health") as answer:
    ...         print(answer.status, json.load(answer)["ok"])
    200 True
    """

    def __init__(
        self,
        tvl: "TvDatafeedLive",
        port: int,
        *,
        host: str = "127.0.0.1",
        store: "BarStore | None" = None,
        webhook: "Webhook | None" = None,
        outbox: "Outbox | None" = None,
    ) -> None:
        collector = TvDatafeedCollector(tvl, store, webhook, outbox)
        from tvDatafeed.common.httpserver import BackgroundServer  # noqa: PLC0415 - takes its time
        from tvDatafeed.common.prometheus import wsgi_app  # noqa: PLC0415 - an extra

        try:
            server = BackgroundServer(
                _Routes(tvl, wsgi_app(collector)), host, port, "tvDatafeed-metrics"
            )
        except (OSError, OverflowError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or error
            what = f"cannot be listened on at {host}: {reason}; choose another one, or 0 for any"
            raise ConfigurationError("port", port, what) from error
        self._server = server
        self.host: str = server.host
        self.port: int = server.port

    def __repr__(self) -> str:
        return f"<MetricsServer {self.url}>"

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The URL without a path, such as ``http://127.0.0.1:9100``."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def close(self, timeout: float = _CLOSE_S) -> bool:
        """Serve no more; may be called again.

        Parameters
        ----------
        timeout : float, default 5.0
            Seconds for the requests under way, which are cut off.

        Returns
        -------
        bool
            False when a thread has not ended in time.
        """
        return self._server.close(timeout)


class _Routes:
    """The WSGI application of the server."""

    def __init__(self, tvl: "TvDatafeedLive", metrics: Callable[..., Iterable[bytes]]) -> None:
        self._tvl = tvl
        self._metrics = metrics

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., object]
    ) -> Iterable[bytes]:
        """Answer a request."""
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            return self._metrics(environ, start_response)
        if path != "/health":
            return _answer(start_response, "404 Not Found", {"detail": "see /metrics and /health"})
        method = environ.get("REQUEST_METHOD")
        if method not in {"GET", "HEAD"}:
            return _answer(start_response, "405 Method Not Allowed", {"detail": "use GET"})
        try:
            health = self._tvl.health().as_dict()
        except TvDatafeedError as error:
            health = {"ok": False, "error": str(error)}
        body = _answer(start_response, _HEALTHY if health["ok"] else _UNHEALTHY, health)
        return [] if method == "HEAD" else body


_HEALTHY, _UNHEALTHY = "200 OK", "503 Service Unavailable"


def _answer(
    start_response: Callable[..., object], status: str, content: dict[str, Any]
) -> Iterable[bytes]:
    body = json.dumps(content).encode()
    headers = [
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
    ]
    start_response(status, headers)
    return [body]


def _check_installed() -> None:
    try:
        import tvDatafeed.common.prometheus  # noqa: F401, PLC0415 - an extra
    except ImportError as error:
        what = f'needs prometheus_client: pip install "tvdatafeed[metrics]" ({error})'
        raise ConfigurationError("metrics", None, what) from error


def _has_feed(tvl: "TvDatafeed | TvDatafeedLive") -> "TypeGuard[TvDatafeedLive]":
    return hasattr(tvl, "health")


def _client_figures(stats: dict[str, Any]) -> "Iterator[Family]":
    from tvDatafeed.common.prometheus import counter, gauge  # noqa: PLC0415 - an extra

    prefix = "tvdatafeed_client_"
    yield gauge(
        f"{prefix}open_connections",
        "Connections on which the server answers.",
        stats["open_connections"],
    )
    yield gauge(f"{prefix}open_sessions", "Requests running now.", stats["open_sessions"])
    counters = {
        "connections": "Connections opened.",
        "reconnects": "Connections opened after a fault.",
        "messages": "Messages received.",
        "ignored": "Messages that could not be read or are not known.",
        "violations": "Violations of the protocol by the server.",
        "heartbeats": "Heartbeats received.",
        "requests": "Requests answered.",
    }
    for name, text in counters.items():
        yield counter(prefix + name, text, stats[name])
    latencies = {"0.5": stats["latency_p50_s"], "0.99": stats["latency_p99_s"]}
    yield gauge(
        f"{prefix}request_latency_seconds",
        "Latency of the last 1000 requests.",
        *(({"quantile": q}, value) for q, value in latencies.items() if value is not None),
    )
    yield counter(
        f"{prefix}errors",
        "Faults by their class, passed ones included.",
        *(({"kind": kind}, number) for kind, number in sorted(stats["errors"].items())),
    )


def _feed_figures(health: "Health") -> "Iterator[Family]":
    from tvDatafeed.common.prometheus import counter, gauge  # noqa: PLC0415 - an extra

    yield gauge("tvdatafeed_feed_ok", "Whether the feed is well, as /health says.", health.ok)
    yield gauge(
        "tvdatafeed_feed_connected",
        "Whether the server answers on the connection of each Seis.",
        health.connected,
    )
    heard = () if health.heard_s is None else (health.heard_s,)
    yield gauge("tvdatafeed_feed_heard_seconds", "Time since the server sent anything.", *heard)
    seises = health.seises
    yield gauge("tvdatafeed_feed_seises", "Seises that are followed.", len(seises))
    prefix = "tvdatafeed_seis_"
    states = [
        ({**_labels(status), "state": state}, float(status.state == state))
        for status in seises
        for state in _STATES
    ]
    yield gauge(f"{prefix}state", "1 for the state of a Seis, and 0 for the others.", *states)

    def samples(
        value_of: "Callable[[SeisStatus], float | None]",
    ) -> list[tuple[dict[str, str], float]]:
        values = ((_labels(status), value_of(status)) for status in seises)
        return [(labels, value) for labels, value in values if value is not None]

    gauges: dict[str, tuple[str, Callable[[SeisStatus], float | None]]] = {
        "last_bar_timestamp_seconds": (
            "When the last closed bar opened.",
            lambda s: None if s.last_bar is None else s.last_bar.timestamp(),
        ),
        "lag_seconds": (
            "How long after its close the last bar was delivered.",
            lambda s: None if s.lag_ms is None else s.lag_ms / 1000,
        ),
        "heard_seconds": (
            "Time since the server sent anything on the connection of the Seis.",
            lambda s: s.heard_s,
        ),
        "overdue_seconds": (
            "Time since the next bar should have closed; 0 while the market is closed.",
            lambda s: s.overdue_s,
        ),
        "market_open": (
            "Whether the symbol is traded at this moment.",
            lambda s: s.is_market_open,
        ),
        "queued_bars": ("Bars that wait for callbacks and iterators.", lambda s: s.queued),
    }
    for name, (text, value_of) in gauges.items():
        yield gauge(prefix + name, text, *samples(value_of))
    counters: dict[str, tuple[str, Callable[[SeisStatus], float | None]]] = {
        "bars": ("Closed bars that have come.", lambda s: s.delivered),
        "dropped_bars": ("Bars that callbacks were too slow for.", lambda s: s.dropped),
        "corrections": ("Bars that have changed after their close.", lambda s: s.corrections),
    }
    for name, (text, value_of) in counters.items():
        yield counter(prefix + name, text, *samples(value_of))


def _labels(status: "SeisStatus") -> dict[str, str]:
    seis = status.seis
    return {"symbol": seis.symbol, "exchange": seis.exchange, "interval": seis.interval.value}


def _store_figures(store: "BarStore") -> "Iterator[Family]":
    from tvDatafeed.store.figures import store_figures  # noqa: PLC0415 - an extra

    return store_figures(store)


def _outbox_figures(stats: dict[str, Any]) -> "Iterator[Family]":
    from tvDatafeed.common.prometheus import gauge  # noqa: PLC0415 - an extra

    yield from _message_figures("tvdatafeed_outbox_", stats)
    yield gauge("tvdatafeed_outbox_size_bytes", "The size on disk.", stats["bytes"])
    states = list(stats["destinations"].values())
    yield gauge(
        "tvdatafeed_outbox_destinations",
        "Destinations by their state.",
        *(({"state": state}, float(states.count(state))) for state in _DESTINATION_STATES),
    )


def _webhook_figures(stats: dict[str, Any]) -> "Iterator[Family]":
    from tvDatafeed.common.prometheus import gauge  # noqa: PLC0415 - an extra

    yield from _message_figures("tvdatafeed_webhook_", stats)
    yield gauge(
        "tvdatafeed_webhook_state",
        "1 for the state of the destination, and 0 for the others.",
        *(({"state": s}, float(stats["state"] == s)) for s in _DESTINATION_STATES),
    )
    yield gauge("tvdatafeed_webhook_owner", "Whether this process sends.", stats["is_owner"])


def _message_figures(prefix: str, stats: dict[str, Any]) -> "Iterator[Family]":
    from tvDatafeed.common.prometheus import gauge  # noqa: PLC0415 - an extra

    texts = {
        "pending": "Messages that wait.",
        "dead": "Messages that were refused or given up.",
        "delivered": "Messages that are delivered, as far as they are remembered.",
        "retrying": "Messages that were tried and wait.",
    }
    for name, text in texts.items():
        yield gauge(f"{prefix}{name}_messages", text, stats[name])
    yield gauge(f"{prefix}oldest_seconds", "The age of the oldest that waits.", stats["oldest_s"])

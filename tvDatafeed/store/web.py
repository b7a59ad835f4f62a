"""The store over HTTP: JSON, a page that shows it, and figures for Prometheus.

FastAPI's own page at ``/docs`` loads its scripts from another site. Here ``/docs`` is a small page
of this package that shows ``/openapi.json``, so that it works without the internet.
"""

import socket
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import uvicorn
from fastapi import Body, FastAPI, HTTPException, Query, Request, Response, Security
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from pydantic import BaseModel, ConfigDict, Field

from tvDatafeed.common.prometheus import CONTENT_TYPE, Family, gauge, rendered
from tvDatafeed.exceptions import (
    ConfigurationError,
    DataNotFoundError,
    DataValidationError,
    InvalidIntervalError,
    StoreError,
)
from tvDatafeed.query.history import Adjustment
from tvDatafeed.query.symbols import full_symbol
from tvDatafeed.store.access import Access, Verdict
from tvDatafeed.store.barstore import BarStore
from tvDatafeed.store.figures import store_figures
from tvDatafeed.store.views import (
    bars_view,
    coverage_view,
    document_view,
    documents_view,
    interval_of,
    progress_view,
    series_view,
    spans_view,
    stats_view,
)
from tvDatafeed.store.warmer import MakeClient, Warmer

_Scope: TypeAlias = MutableMapping[str, Any]
_Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_App: TypeAlias = Callable[[_Scope, _Receive, _Send], Awaitable[None]]

# One answer; some 10 MB of JSON.
_MAX_BARS = 100_000
# A body names some symbols.
_MAX_BODY_BYTES = 256 * 1024
_MAX_SYMBOLS = 5000
_MAX_LISTED = 1000
# Requests at a time; more are refused with 503.
_MAX_REQUESTS = 64
# Seconds that the answers under way may take when the server ends.
_END_S = 5

_PAGES = Path(__file__).with_name("pages")
_FILES = {
    "/": ("index.html", "text/html"),
    "/docs": ("docs.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/docs.js": ("docs.js", "text/javascript"),
}
# Only files of this server run, and no other site shows its pages in a frame.
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
_REFUSALS: dict[Verdict, tuple[int, str]] = {
    "no token": (401, "a token is needed: send TV_STORE_TOKEN as 'Authorization: Bearer ...'"),
    "wrong token": (401, "the token is wrong: send TV_STORE_TOKEN as 'Authorization: Bearer ...'"),
    "wrong host": (403, "this server answers for this machine alone: use http://127.0.0.1"),
}


class _Question(BaseModel):
    """Parameters; unknown ones are refused, since a typing error must not change a request."""

    model_config = ConfigDict(extra="forbid")


class _SeriesQuestion(_Question):
    symbol: str = Field(description="EXCHANGE:SYMBOL", examples=["NASDAQ:AAPL"])
    interval: str = Field("1D", description='TradingView\'s text, such as "1H", or "15m"')
    extended_session: bool = False
    fut_contract: int | None = Field(None, ge=1, le=99)
    adjustment: Adjustment = "splits"
    currency: str | None = None
    backadjusted: bool = False
    feed: Literal["realtime", "delayed"] | None = None

    def key(self) -> dict[str, Any]:
        """Return the arguments of `BarStore` that name the series."""
        names = ("extended_session", "fut_contract", "adjustment", "currency", "backadjusted")
        return {
            "symbol": full_symbol(self.symbol, None),
            "exchange": None,
            "interval": interval_of(self.interval),
            "feed": self.feed,
        } | {name: getattr(self, name) for name in names}


class _BarsQuestion(_SeriesQuestion):
    n_bars: int | None = Field(None, ge=1, le=_MAX_BARS, description="default: 10")
    start_date: str | None = Field(None, description="ISO 8601; a naive one is local time")
    end_date: str | None = None
    days: float | None = Field(None, ge=0, le=100_000, description="all bars of the last N days")


class _CoverageQuestion(_SeriesQuestion):
    symbol: str | None = Field(  # type: ignore[assignment]  # wider
        None, description="EXCHANGE:SYMBOL; default: the series that were used last"
    )
    limit: int = Field(20, ge=1, le=_MAX_LISTED)


class _DocumentsQuestion(_Question):
    symbol: str | None = None
    data_type: str | None = None
    timeframe: str = ""
    limit: int = Field(100, ge=1, le=_MAX_LISTED)


class _WarmOrder(_Question):
    symbols: list[str] = Field(
        min_length=1, max_length=_MAX_SYMBOLS, description="EXCHANGE:SYMBOL, each"
    )
    intervals: list[str] = Field(["1D"], min_length=1, max_length=50)
    n_bars: int = Field(5000, ge=1, le=1_000_000)


class _ClearOrder(_Question):
    symbol: str | None = Field(None, min_length=1, description="default: all symbols")
    interval: str | None = Field(None, min_length=1, description="default: all intervals")


def create_app(
    store: BarStore,
    make_client: MakeClient | None = None,
    *,
    host: str = "127.0.0.1",
    token: str | None = None,
) -> FastAPI:
    """Return the application that serves a store.

    Parameters
    ----------
    store : BarStore
        The store; it is not closed here.
    make_client : callable, optional
        What makes the client that warms the store, such as `TvDatafeed`; it is closed after each
        job. Default: ``POST /api/cache/warm`` answers 503.
    host : str, default "127.0.0.1"
        The address that the server listens on. Another one than this machine's needs a token.
    token : str, optional
        What clients send as ``Authorization: Bearer``: needed for each POST, and for everything
        but the pages' own files where `host` is not this machine.

    Returns
    -------
    fastapi.FastAPI
        An ASGI application.

    Raises
    ------
    ConfigurationError
        `host` is not this machine, and there is no token.
    """
    access = Access(host, token)
    warmer = Warmer(store, make_client)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncGenerator[None]:
        yield
        warmer.close()

    app = FastAPI(
        title="tvDatafeed bar store",
        description="Stored bars of TradingView, and how they are used.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.add_middleware(_Guard, access=access)
    _add_errors(app)
    _add_pages(app)
    _add_state(app, store, warmer)
    _add_contents(app, store)
    _add_changes(app, store, warmer)
    return app


def serve(
    store: BarStore,
    listener: socket.socket,
    make_client: MakeClient | None = None,
    *,
    host: str = "127.0.0.1",
    token: str | None = None,
) -> None:
    """Serve a store until Ctrl-C or SIGTERM.

    Parameters
    ----------
    store, make_client, host, token
        As for `create_app`.
    listener : socket.socket
        Bound to `host`.

    Raises
    ------
    ConfigurationError
        As from `create_app`.
    """
    app = create_app(store, make_client, host=host, token=token)
    make_server(app, listener).run([listener])


def make_server(app: FastAPI, listener: socket.socket) -> uvicorn.Server:
    """Return a server for an application, which `uvicorn.Server.run` starts on the listener."""
    # asyncio does so for sockets that name their protocol; without it each answer waits for 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        # Independent of the client: headers of a proxy are ignored.
        proxy_headers=False,
        ws="none",
        limit_concurrency=_MAX_REQUESTS,
        timeout_graceful_shutdown=_END_S,
    )
    return uvicorn.Server(config)


class _Guard:
    """Refuses requests that are not allowed, and adds the headers of all answers."""

    def __init__(self, app: _App, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                own = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
                message["headers"] = [*message.get("headers", ()), *own]
            await send(message)

        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        verdict = self._access.verdict(scope["method"], scope["path"], headers)
        if verdict != "allowed":
            status, sentence = _REFUSALS[verdict]
            response = _refusal(status, sentence)
            await response(scope, receive, send_with_headers)
            return
        body = await _whole_body(receive, headers)
        if body is None:
            response = _refusal(413, f"the body is longer than {_MAX_BODY_BYTES} bytes")
            await response(scope, receive, send_with_headers)
            return

        is_given = False

        async def receive_body() -> MutableMapping[str, Any]:
            nonlocal is_given
            if is_given:
                return await receive()
            is_given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, receive_body, send_with_headers)


async def _whole_body(receive: _Receive, headers: dict[str, str]) -> bytes | None:
    """Return the body of a request; None when it is too long."""
    length = headers.get("content-length", "0")
    if not length.isdecimal() or len(length) > len(str(_MAX_BODY_BYTES)):
        return None
    body, is_more = b"", True
    while is_more:
        message = await receive()
        body += message.get("body", b"")
        is_more = message.get("more_body", False)
        if len(body) > _MAX_BODY_BYTES:
            return None
    return body


def _refusal(status: int, sentence: str) -> Response:
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None  # noqa: PLR2004 - HTTP's
    return JSONResponse({"detail": sentence}, status, headers)


def _add_errors(app: FastAPI) -> None:
    statuses = {
        DataNotFoundError: 404,
        DataValidationError: 422,
        InvalidIntervalError: 422,
        ConfigurationError: 422,
        ValueError: 422,
        OverflowError: 422,
        StoreError: 503,
    }

    def answer(status: int) -> Callable[[Request, Exception], Response]:
        return lambda _request, error: _refusal(status, str(error))

    def invalid(_request: Request, error: Exception) -> Response:
        # What was sent is not repeated.
        found = error.errors() if isinstance(error, RequestValidationError) else []
        sentences = [f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in found]
        return _refusal(422, "; ".join(sentences[:5]))

    for kind, status in statuses.items():
        app.add_exception_handler(kind, answer(status))
    app.add_exception_handler(RequestValidationError, invalid)


def _add_pages(app: FastAPI) -> None:
    def add(path: str, file: str, media_type: str) -> None:
        content = (_PAGES / file).read_bytes()

        @app.api_route(path, methods=["GET", "HEAD"], include_in_schema=False)
        def page() -> Response:
            return Response(content, media_type=f"{media_type}; charset=utf-8")

    for path, (file, media_type) in _FILES.items():
        add(path, file, media_type)


def _add_state(app: FastAPI, store: BarStore, warmer: Warmer) -> None:
    started = time.monotonic()

    @app.get("/api/cache/health", summary="Whether the store answers; 503 when it does not")
    def health() -> Response:
        state = store.health_check()
        content = {
            "ok": state.ok,
            "engine": state.engine,
            "driver_version": state.driver_version,
            "server_version": state.server_version,
            "latency_ms": round(state.latency_ms, 3),
            "detail": state.detail,
            "uptime_s": round(time.monotonic() - started, 3),
            "warming": progress_view(warmer.progress),
        }
        return JSONResponse(content, 200 if state.ok else 503)

    @app.get("/api/cache/stats", summary="Records, hits, hot symbols, and how far warming is")
    def stats() -> dict[str, Any]:
        return stats_view(store, warmer.progress)

    @app.get("/metrics", summary="Figures for Prometheus")
    def metrics() -> Response:
        return Response(rendered(_Collector(store, warmer)), media_type=CONTENT_TYPE)


def _add_contents(app: FastAPI, store: BarStore) -> None:
    @app.get("/api/cache/series", summary="All series")
    def series() -> list[dict[str, Any]]:
        return series_view(store)

    @app.get("/api/cache/coverage", summary="The ranges that are known of a series")
    def coverage(question: Annotated[_CoverageQuestion, Query()]) -> Any:
        if question.symbol is None:
            return coverage_view(store, question.limit)
        return spans_view(store, question.key())

    @app.get("/api/cache/bars", summary="Stored bars; no network is used")
    def bars(question: Annotated[_BarsQuestion, Query()]) -> Response:
        frame = store.read_bars(
            **question.key(),
            n_bars=question.n_bars,
            start_date=question.start_date,
            end_date=question.end_date,
            days=question.days,
            timezone="UTC",
        )
        if len(frame) > _MAX_BARS:
            raise DataValidationError(
                "range", f"{len(frame)} bars", f"must have at most {_MAX_BARS} bars"
            )
        # A response is not looked through again, which takes longer than to read the bars.
        return JSONResponse(bars_view(frame, interval_of(question.interval)))

    @app.get("/api/cache/documents", summary="The names of documents, or one document")
    def documents(question: Annotated[_DocumentsQuestion, Query()]) -> Any:
        symbol, data_type = question.symbol, question.data_type
        if symbol is not None and data_type is not None:
            return document_view(store, symbol, data_type, question.timeframe)
        if symbol is not None or data_type is not None:
            raise DataValidationError("documents", symbol or data_type, "must have both names")
        return documents_view(store, question.limit)


def _add_changes(app: FastAPI, store: BarStore, warmer: Warmer) -> None:
    needs_token = [Security(HTTPBearer(auto_error=False, description="TV_STORE_TOKEN"))]

    @app.post(
        "/api/cache/warm",
        status_code=202,
        dependencies=needs_token,
        summary="Fetch bars into the store, in the background; 409 while it does",
    )
    def warm(order: _WarmOrder) -> dict[str, Any]:
        if not warmer.is_able:
            raise HTTPException(503, "this server has no client to fetch bars with")
        symbols = [full_symbol(symbol, None) for symbol in order.symbols]
        intervals = [interval_of(text) for text in order.intervals]
        if not warmer.start(symbols, intervals, order.n_bars):
            raise HTTPException(409, "warming is under way: see GET /api/cache/health")
        return progress_view(warmer.progress)

    @app.post(
        "/api/cache/clear",
        dependencies=needs_token,
        summary="Remove bars and documents: of a symbol, of an interval, or all",
    )
    def clear(
        question: Annotated[_ClearOrder, Query()],
        order: Annotated[_ClearOrder | None, Body()] = None,
    ) -> dict[str, int]:
        symbol, interval = question.symbol, question.interval
        if order is not None:
            symbol, interval = symbol or order.symbol, interval or order.interval
        removed = store.clear(symbol, None, None if interval is None else interval_of(interval))
        return {"removed": removed}


class _Collector:
    """The figures of a store at the moment of a request."""

    def __init__(self, store: BarStore, warmer: Warmer) -> None:
        self._store = store
        self._warmer = warmer

    def collect(self) -> Iterator[Family]:
        """Yield the figures; of a store that fails that alone."""
        yield from store_figures(self._store)
        is_warming = self._warmer.progress.state == "running"
        yield gauge("tvdatafeed_store_warming", "Whether bars are fetched.", is_warming)

"""One client's conversation: commands in, payloads out, without sockets, threads or waiting.

Where a recorded frame exists its shape is kept to the last key. What the real server is not known
to do (`index_diff` of an older page, the wording for an unknown session) is made up and says so.
"""

import base64
import binascii
import json
import re
import threading
import zoneinfo
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Literal, NamedTuple

from tvDatafeed.testing.market import Listing, Market, MarketBar, is_valid_interval
from tvDatafeed.testing.recordings import Recording, SeriesIds, to_json

NODE = "lo1-charts-free-1-tvbs-loopb-1"
# The default range of a range-only request, the number the chart page asks for.
_BARS_OF_A_PAGE = 300
# Texts of closed bars that are kept: some forty replies of 5000 bars.
_MAX_CACHED_CHARACTERS = 32 * 1024 * 1024
_FREE_MINUTES = frozenset({1, 2, 3, 5, 10, 15, 30, 45, 60, 120, 180, 240, 1440})
# Epoch seconds reach this in the year 5138, so a larger number is milliseconds.
_LARGEST_SECOND = 1e11
_DAY_S = 86400
_EVENING_S = 17 * 3600
_UNIT_S = {"": 60, "S": 1, "H": 3600, "D": _DAY_S, "W": 7 * _DAY_S, "M": 28 * _DAY_S}
_INTERVAL = re.compile(r"(\d*)([SHDWM]?)")
_TICKS = re.compile(r"[1-9]\d*T")
_JWT = re.compile(r"[\w-]+\.([\w-]+)\.[\w-]+", re.ASCII)
_LITERAL_TOKEN = re.compile(r"unauthorized_user_token|widget_user_token(-.+)?")
_WEIGHTS = ((43200, 33), (21600, 32), (10800, 31), (3600, 30), (1800, 22), (300, 21))


@dataclass(frozen=True)
class Refusal:
    """How the server refuses a symbol on purpose.

    Parameters
    ----------
    message
        ``"symbol_error"``: the symbol does not resolve, and its series gets a series_error as
        well. ``"series_error"``: it resolves, and its series fails. ``"critical_error"``: its
        series kills the chart session.
    reason
        The server's word, such as ``"permission denied"`` or ``"resolution_not_entitled"``.
    details
        What follows the reason, such as ``("group", "economics_paid")``.
    """

    message: Literal["symbol_error", "series_error", "critical_error"]
    reason: str
    details: tuple[str, ...] = ()


@dataclass
class Backend:
    """What all conversations of one server share."""

    market: Market
    clock: Callable[[], float]
    bad_tokens: set[str]
    max_bars_per_reply: int
    refusals: dict[str, Refusal] = field(default_factory=dict)
    recordings: dict[str, Recording] = field(default_factory=dict)
    delays_s: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.texts = BarTexts(self.market)

    def now(self, symbol: str) -> float:
        """Return the moment that a series of this symbol shows."""
        return self.clock() - self.delays_s.get(symbol, 0)


@dataclass
class _Symbol:
    name: str
    symbol: str
    is_extended: bool
    listing: Listing | None
    is_told: bool = False


@dataclass
class _Series:
    name: str
    turnaround: str
    symbol: _Symbol
    interval: str
    count: int = _BARS_OF_A_PAGE
    bars_sent: int = 0
    oldest_time: int | None = None
    newest: MarketBar | None = None
    newest_index: int = -1
    until_s: float | None = None


@dataclass
class _Chart:
    session: str
    timezone: str = "Etc/UTC"
    symbols: dict[str, _Symbol] = field(default_factory=dict)
    series: dict[str, _Series] = field(default_factory=dict)


class _RefusedError(Exception):
    """A command is answered with critical_error, which ends its session."""

    def __init__(self, reason: str = "invalid parameters", *details: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.details = details


class Conversation:
    """The protocol state of one connection.

    Parameters
    ----------
    backend
        The market and the rules of the server.
    number
        Which connection of the server this is, for the hello.

    Attributes
    ----------
    is_over
        Whether the server closes the connection after the last reply.
    """

    def __init__(self, backend: Backend, number: int) -> None:
        self.is_over = False
        self._backend = backend
        self._number = number
        self._is_paid = False
        self._charts: dict[str, _Chart] = {}
        self._quotes: dict[str, list[str]] = {}
        self._dead: set[str] = set()
        self._connection_commands: dict[str, Callable[[list[Any]], list[str]]] = {
            "set_auth_token": self._set_auth_token,
            "chart_create_session": self._create_chart,
            "chart_delete_session": self._delete_chart,
            "quote_create_session": self._create_quotes,
            "quote_delete_session": self._delete_quotes,
        }
        self._chart_commands: dict[str, Callable[[_Chart, list[Any]], list[str]]] = {
            "switch_timezone": self._switch_timezone,
            "resolve_symbol": self._resolve_symbol,
            "create_series": self._create_series,
            "modify_series": self._modify_series,
            "remove_series": self._remove_series,
            "request_more_data": self._request_more_data,
            "request_more_tickmarks": self._request_more_tickmarks,
        }
        self._quote_commands: dict[str, Callable[[str, list[Any]], list[str]]] = {
            "quote_set_fields": self._set_quote_fields,
            "quote_add_symbols": self._add_quotes,
        }

    @property
    def chart_sessions(self) -> list[str]:
        """The chart sessions that are open, in the order of their creation."""
        return list(self._charts)

    def hello(self) -> str:
        """Return the first payload of a connection."""
        now = self._backend.clock()
        return to_json(
            {
                "session_id": f"0.{self._number}.0_{NODE}",
                "timestamp": int(now),
                "timestampMs": int(now * 1000),
                "release": "release_209-23",
                "studies_metadata_hash": "0fd29e4fdd03e654cf64f97efb4cd78bef47feac",
                "auth_scheme_vsn": 2,
                "protocol": "json",
                "via": "127.0.0.1:443",
                "javastudies": ["3.66"],
            }
        )

    def handle(self, method: str, params: list[Any]) -> list[str]:
        """Take one command and return the payloads of its answer, which is one message.

        The answer to resolve_symbol waits for the series that usually follows: see `settle`.
        """
        if method in self._connection_commands:
            return self._connection_commands[method](params)
        session = _text(params[0]) if params else ""
        if session in self._dead:
            return []
        try:
            return self._handle_in_session(method, session, params[1:])
        except _RefusedError as refused:
            self.end_session(session)
            literal = f'method: {method}. args: "[{", ".join(map(_text, params[1:]))}]"'
            details = refused.details or (literal,)
            return [self._stamped("critical_error", session, refused.reason, *details)]

    def settle(self) -> list[tuple[str, str]]:
        """Return the answers to resolve_symbol that no create_series took: (symbol, payload)."""
        return [
            (symbol.symbol, payload)
            for chart in self._charts.values()
            for symbol in chart.symbols.values()
            for payload in self._symbol_answer(chart, symbol)
        ]

    def end_session(self, session: str) -> None:
        """Make a session dead: its later commands are ignored."""
        self._charts.pop(session, None)
        self._quotes.pop(session, None)
        self._dead.add(session)

    def symbol_of(self, method: str, params: list[Any]) -> str | None:
        """Return the ``"EXCHANGE:NAME"`` that a command is about, if it is about one."""
        if method == "resolve_symbol":
            return _asked(params[-1])[0]
        chart = self._charts.get(_text(params[0])) if params else None
        if chart is None:
            return None
        for name in map(_text, params[1:]):
            if name in chart.symbols:
                return chart.symbols[name].symbol
            if name in chart.series and method != "create_series":
                return chart.series[name].symbol.symbol
        return None

    def updates(self) -> list[tuple[str, str]]:
        """Return what changed in live series since they were last told: (symbol, payload)."""
        return [
            (series.symbol.symbol, payload)
            for chart in self._charts.values()
            for series in chart.series.values()
            if series.until_s is None and series.newest is not None
            for payload in self._series_updates(chart, series, series.newest)
        ]

    def _handle_in_session(self, method: str, session: str, arguments: list[Any]) -> list[str]:
        if method not in self._chart_commands and method not in self._quote_commands:
            return []
        if method in self._quote_commands and session in self._quotes:
            return self._quote_commands[method](session, arguments)
        if method in self._chart_commands and session in self._charts:
            return self._chart_commands[method](self._charts[session], arguments)
        raise _RefusedError("unknown_session_id")

    def _set_auth_token(self, params: list[Any]) -> list[str]:
        token = _text(params[0]) if params else ""
        jwt = _JWT.fullmatch(token)
        claims = _claims(jwt[1]) if jwt else {}
        expiry = claims.get("exp")
        is_expired = isinstance(expiry, int | float) and expiry < self._backend.clock()
        is_known = jwt or _LITERAL_TOKEN.fullmatch(token)
        if not is_known or is_expired or token in self._backend.bad_tokens:
            return self.end_with("bad auth token")
        self._is_paid = bool(claims.get("plan"))
        return []

    def end_with(self, reason: str) -> list[str]:
        """Return a protocol_error, after which the connection is over."""
        self.is_over = True
        return [_plain("protocol_error", reason)]

    def _create_chart(self, params: list[Any]) -> list[str]:
        session = _text(params[0]) if params else ""
        self._dead.discard(session)
        self._charts.setdefault(session, _Chart(session))
        return []

    def _delete_chart(self, params: list[Any]) -> list[str]:
        self._charts.pop(_text(params[0]) if params else "", None)
        return []

    def _switch_timezone(self, chart: _Chart, arguments: list[Any]) -> list[str]:
        name = _text(arguments[0]) if arguments else ""
        if name != "exchange" and not _is_timezone(name):
            raise _RefusedError("invalid timezone")
        chart.timezone = name
        return []

    def _resolve_symbol(self, chart: _Chart, arguments: list[Any]) -> list[str]:
        match arguments:
            case [str(name), str(spec)]:
                symbol, is_extended = _asked(spec)
                listing = self._backend.market.find(symbol)
                chart.symbols[name] = _Symbol(name, symbol, is_extended, listing)
                return []
        raise _RefusedError

    def _create_series(self, chart: _Chart, arguments: list[Any]) -> list[str]:
        match arguments:
            case [str(name), str(turnaround), str(symbol), str(interval), count, *rest] if (
                symbol in chart.symbols
            ):
                series = _Series(name, turnaround, chart.symbols[symbol], interval)
            case _:
                raise _RefusedError
        return self._open(chart, series, count, _text(rest[0]) if rest else "")

    def _modify_series(self, chart: _Chart, arguments: list[Any]) -> list[str]:
        match arguments:
            case [str(name), str(turnaround), str(symbol), str(interval), *rest] if (
                symbol in chart.symbols and name in chart.series
            ):
                count = chart.series[name].count
                series = _Series(name, turnaround, chart.symbols[symbol], interval)
            case _:
                raise _RefusedError
        return self._open(chart, series, count, _text(rest[0]) if rest else "", is_change=True)

    def _remove_series(self, chart: _Chart, arguments: list[Any]) -> list[str]:
        chart.series.pop(_text(arguments[0]) if arguments else "", None)
        return []

    def _open(
        self,
        chart: _Chart,
        series: _Series,
        count: Any,
        wanted_range: str,
        *,
        is_change: bool = False,
    ) -> list[str]:
        symbol = series.symbol
        refusal = self._backend.refusals.get(symbol.symbol)
        is_interval = is_valid_interval(series.interval) or _TICKS.fullmatch(series.interval)
        if not is_interval:
            raise _RefusedError
        if refusal and refusal.message == "critical_error":
            raise _RefusedError(refusal.reason, *refusal.details)
        chart.series[series.name] = series
        ids = SeriesIds(chart.session, symbol.name, series.name, series.turnaround)
        recording = self._backend.recordings.get(symbol.symbol)
        if recording:
            with_symbol, symbol.is_told = not symbol.is_told, True
            return recording.payloads(ids, with_symbol=with_symbol)
        payloads = [self._stamped("series_loading", chart.session, series.name, series.turnaround)]
        if is_change:
            payloads.append(self._bars_text(chart, series, _NO_BARS))
        payloads += self._symbol_answer(chart, symbol)
        reason = self._series_refusal(series)
        if reason:
            error = "series_error", chart.session, series.name, series.turnaround, reason
            return [*payloads, self._stamped(*error, f"{NODE}@{NODE}")]
        wanted, series.until_s, timeframe = self._window(series, count, wanted_range)
        series.count = wanted
        page = self._backend.texts.page(
            (symbol.symbol, series.interval, min(wanted, self._backend.max_bars_per_reply)),
            chart.timezone,
            self._backend.now(symbol.symbol) if series.until_s is None else series.until_s,
        )
        series.oldest_time, series.newest = page.oldest_time, page.newest
        series.newest_index = page.size - 1
        payloads.append(self._bars_text(chart, series, page, switch=page.size - 1))
        if timeframe:
            where = chart.session, series.name, series.turnaround
            payloads.append(_plain("series_timeframe", *where, *timeframe, wanted_range, True))
        return [*payloads, self._completed(chart, series, wanted, page.size)]

    def _series_refusal(self, series: _Series) -> str | None:
        refusal = self._backend.refusals.get(series.symbol.symbol)
        if refusal and refusal.message == "series_error":
            return refusal.reason
        if refusal or series.symbol.listing is None:
            return "resolve error"
        minutes = series.interval if series.interval.isdigit() else "1"
        not_entitled = {
            "ticks_not_entitled": series.interval.endswith("T"),
            "seconds_not_entitled": series.interval.endswith("S") and not self._is_paid,
            "custom_resolution": int(minutes) not in _FREE_MINUTES and not self._is_paid,
        }
        return next((reason for reason, is_so in not_entitled.items() if is_so), None)

    def _symbol_answer(self, chart: _Chart, symbol: _Symbol) -> list[str]:
        if symbol.is_told:
            return []
        symbol.is_told = True
        recording = self._backend.recordings.get(symbol.symbol)
        if recording:
            return recording.symbol_payloads(SeriesIds(chart.session, symbol.name, "", ""))
        refusal = self._backend.refusals.get(symbol.symbol)
        if refusal and refusal.message == "symbol_error":
            details = refusal.reason, *refusal.details
            return [self._stamped("symbol_error", chart.session, symbol.name, *details)]
        if symbol.listing is None:
            return [self._stamped("symbol_error", chart.session, symbol.name, "invalid symbol")]
        info = symbol.listing.info()
        if symbol.is_extended and info["has_extended_hours"]:
            info["subsession_id"] = "extended"
        return [self._stamped("symbol_resolved", chart.session, symbol.name, info)]

    def _window(
        self, series: _Series, count: Any, wanted_range: str
    ) -> tuple[int, float | None, tuple[int, int] | None]:
        """Return how many bars are asked for, up to when (None is live), and the range in them."""
        until_s: float | None = None
        match count:
            case int() if not isinstance(count, bool) and count > 0:
                wanted = count
            case ["bar_count", int() | float() as moment, int() as size] if size > 0:
                wanted, until_s = size, moment
            case ["bar_count", int() | float() as moment, int() as size] if size < 0:
                times = self._times_since(series, moment)[:-size]
                wanted, until_s = len(times), times[-1] if times else moment
            case ["from_to", int() | float() as start, *_]:
                wanted = len(self._times_since(series, start))
            case str() if count.startswith("r,"):
                wanted, wanted_range = 1, count
            case _:
                raise _RefusedError
        if not wanted_range:
            return max(1, wanted), until_s, None
        start, end = self._range(series, wanted_range)
        times = self._times_since(series, start)
        wanted = max(wanted, len(times))
        before = wanted - len(times)
        return wanted, until_s, (before, before + sum(time <= end for time in times) - 1)

    def _range(self, series: _Series, text: str) -> tuple[float, float]:
        now = self._backend.now(series.symbol.symbol)
        if bounds := re.fullmatch(r"r,(\d+(?:\.\d+)?):(\d+(?:\.\d+)?)", text):
            start, end = (float(bound) for bound in bounds.groups())
            return (start, end) if end < _LARGEST_SECOND else (start / 1000, end / 1000)
        if period := re.fullmatch(r"([1-9]\d{0,3})([dDM])", text):
            return now - int(period[1]) * _UNIT_S[period[2].upper()], now
        named: dict[str, Callable[[], float]] = {
            "ALL": lambda: 0,
            "YTD": lambda: (
                now - datetime.fromtimestamp(now, timezone.utc).timetuple().tm_yday * _DAY_S
            ),
            "LASTSESSION": lambda: (
                self._backend.market.bars(series.symbol.symbol, "1D", 1, now)[-1].time
            ),
        }
        if text not in named:
            raise _RefusedError
        return named[text](), now

    def _times_since(self, series: _Series, start: float) -> list[int]:
        now = self._backend.now(series.symbol.symbol)
        possible = max(0, int((now - start) / _seconds(series.interval))) + 2
        size = min(possible, self._backend.max_bars_per_reply)
        bars = self._backend.market.bars(series.symbol.symbol, series.interval, size, now)
        return [bar.time for bar in bars if bar.time >= start]

    def _request_more_data(self, chart: _Chart, arguments: list[Any]) -> list[str]:
        match arguments:
            case [str(name), int(wanted)] if name in chart.series and wanted > 0:
                series = chart.series[name]
            case _:
                raise _RefusedError
        if series.oldest_time is None:
            return [self._completed(chart, series, wanted, 0)]
        symbol, oldest_time = series.symbol.symbol, series.oldest_time
        size = min(wanted, self._backend.max_bars_per_reply - series.bars_sent)
        # At the moment when the oldest known bar begins, every bar before it is complete.
        older = self._backend.market.bars(symbol, series.interval, size + 1, oldest_time)[:-1]
        texts = self._backend.texts
        page = texts.finished(older, symbol, series.interval, chart.timezone)
        if not older:
            return [self._completed(chart, series, wanted, 0)]
        series.oldest_time = older[0].time
        series.newest_index += len(older)
        return [
            self._bars_text(chart, series, page, shift=len(older)),
            self._completed(chart, series, wanted, len(older)),
        ]

    def _request_more_tickmarks(self, chart: _Chart, arguments: list[Any]) -> list[str]:
        match arguments:
            case [str(name), int(size)] if name in chart.series and 0 < size <= _BARS_OF_A_PAGE:
                series = chart.series[name]
            case _:
                raise _RefusedError
        if series.newest is None:
            return []
        # Steps of the interval, closed hours or not: no client takes these times for bars.
        times = [
            series.newest.time + step * _seconds(series.interval) for step in range(1, size + 1)
        ]
        first = series.newest_index + 1
        marks = ",".join(f"[40,{time},{first + step}]" for step, time in enumerate(times))
        changes = ",".join(f"{time}.0" for time in times)
        return [self._timescale(chart, "", changes, marks, index=first)]

    def _series_updates(self, chart: _Chart, series: _Series, told: MarketBar) -> list[str]:
        market, symbol = self._backend.market, series.symbol.symbol
        now = self._backend.now(symbol)
        size, bars = 2, market.bars(symbol, series.interval, 2, now)
        while bars[0].time > told.time and len(bars) == size:
            size *= 2
            bars = market.bars(symbol, series.interval, size, now)
        payloads = []
        for bar in bars:
            if bar.time < told.time or bar == told:
                continue
            item = _bar_text(series.newest_index + (bar.time > told.time), bar)
            close_time = market.bar_close_time(symbol, series.interval, bar.time)
            if bar.time == told.time:
                body = _series_text(series, item, close_time, indexes='"nochange"')
                payloads.append(f'{{"m":"du","p":[{to_json(chart.session)},{{{body}}}]}}')
            else:
                series.newest_index += 1
                body = _series_text(series, item, close_time)
                mark = f"[20,{bar.time},{series.newest_index}]"
                index = series.newest_index
                payloads.append(self._timescale(chart, body, f"{bar.time}.0", mark, index=index))
            series.newest = told = bar
        return payloads

    def _bars_text(
        self,
        chart: _Chart,
        series: _Series,
        page: "Page",
        *,
        switch: int = -1,
        shift: int = 0,
    ) -> str:
        close_time = None
        if page.newest is not None:
            close_time = self._backend.market.bar_close_time(
                series.symbol.symbol, series.interval, page.newest.time
            )
        series.bars_sent += page.size
        body = _series_text(series, page.bars, close_time, with_node=bool(page.size))
        return self._timescale(
            chart,
            body,
            page.changes,
            page.marks,
            shift=shift,
            switches=to_json({series.name: {"market": switch}}) if switch >= 0 else "",
        )

    def _timescale(
        self,
        chart: _Chart,
        body: str,
        changes: str,
        marks: str,
        *,
        index: int = 0,
        shift: int = 0,
        switches: str = "",
    ) -> str:
        diff = f'{{"old":0,"new":{shift}}}' if shift else ""
        more = f',"last_session_switches":{switches}' if switches else ""
        return (
            f'{{"m":"timescale_update","p":[{to_json(chart.session)},{{{body}}},'
            f'{{"index":{index},"zoffset":0,"changes":[{changes}],"marks":[{marks}],'
            f'"index_diff":[{diff}]{more}}}]{self._stamp()}}}'
        )

    def _completed(self, chart: _Chart, series: _Series, wanted: int, got: int) -> str:
        symbol = series.symbol.symbol
        delay_s = self._backend.delays_s.get(symbol, 0)
        info: dict[str, Any] = {"rt_update_period": 0 if self._is_paid else 5}
        if series.bars_sent >= self._backend.max_bars_per_reply:
            info["data_completed"] = "limit"
        elif got < wanted:
            info["data_completed"] = "end"
        mode = f"delayed_streaming_{delay_s}" if delay_s else "streaming"
        where = chart.session, series.name, mode, series.turnaround
        return self._stamped("series_completed", *where, info)

    def _create_quotes(self, params: list[Any]) -> list[str]:
        session = _text(params[0]) if params else ""
        self._dead.discard(session)
        self._quotes[session] = []
        return []

    def _delete_quotes(self, params: list[Any]) -> list[str]:
        self._quotes.pop(_text(params[0]) if params else "", None)
        return []

    def _set_quote_fields(self, session: str, arguments: list[Any]) -> list[str]:
        self._quotes[session] = [_text(argument) for argument in arguments]
        return []

    def _add_quotes(self, session: str, arguments: list[Any]) -> list[str]:
        if not all(isinstance(argument, str) for argument in arguments):
            # Flags were allowed until 2024-02-06.
            self.end_session(session)
            return [_plain("critical_error", session, "invalid_parameters", "quote_add_symbols")]
        payloads = []
        for asked in arguments:
            payloads.append(_plain("qsd", session, self._quote(session, asked)))
            payloads.append(_plain("quote_completed", session, asked))
        return payloads

    def _quote(self, session: str, asked: str) -> dict[str, Any]:
        symbol, _is_extended = _asked(asked)
        listing = self._backend.market.find(symbol)
        refusal = self._backend.refusals.get(symbol)
        if refusal and refusal.message == "symbol_error":
            status = refusal.reason.replace(" ", "_")
            alternative = {"alternative": refusal.details[-1]} if refusal.details else {}
            return {
                "n": asked,
                "s": status,
                "errmsg": refusal.reason.capitalize(),
                "v": alternative,
            }
        if listing is None:
            return {"n": asked, "s": "error", "errmsg": "no_such_symbol", "v": {}}
        values = _quote_values(listing, self._backend)
        fields = self._quotes[session] or values
        known = {name: values[name] for name in fields if name in values}
        return {"n": asked, "s": "ok", "v": known}

    def _stamp(self) -> str:
        now = self._backend.clock()
        return f',"t":{int(now)},"t_ms":{int(now * 1000)}'

    def _stamped(self, name: str, *params: Any) -> str:
        return f"{_plain(name, *params)[:-1]}{self._stamp()}}}"


class Page(NamedTuple):
    """Some bars as the text of a timescale_update."""

    size: int
    oldest_time: int | None
    newest: MarketBar | None
    bars: str
    changes: str
    marks: str


_NO_BARS = Page(0, None, None, "", "", "")


class BarTexts:
    """Bars as text, kept, since finished bars never change.

    Parameters
    ----------
    market
        Where the bars come from.
    """

    def __init__(self, market: Market) -> None:
        self._market = market
        self._lock = threading.Lock()
        self._pages: OrderedDict[tuple[str, str, int, str], tuple[int, Page]] = OrderedDict()
        self._characters = 0

    def page(self, asked: tuple[str, str, int], time_zone: str, now: float) -> Page:
        """Return the last bars at a moment; `asked` is symbol, interval and number of bars."""
        symbol, interval, size = asked
        newest = self._market.bars(symbol, interval, 1, now)
        if not newest:
            return _NO_BARS
        key = (*asked, time_zone)
        with self._lock:
            before, done = self._pages.get(key, (0, _NO_BARS))
        if before != newest[0].time:
            bars = self._market.bars(symbol, interval, size, now)
            done = self.finished(bars[:-1], symbol, interval, time_zone)
            self._keep(key, newest[0].time, done)
        last = self._texts(newest, done.size, done.newest, asked, time_zone)
        if not done.size:
            return last
        joined = (f"{a},{b}" for a, b in zip(done[3:], last[3:], strict=True))
        return Page(done.size + 1, done.oldest_time, newest[0], *joined)

    def finished(self, bars: list[MarketBar], symbol: str, interval: str, time_zone: str) -> Page:
        """Return the text of these bars, indexed from 0."""
        return self._texts(bars, 0, None, (symbol, interval, 0), time_zone) if bars else _NO_BARS

    def _keep(self, key: tuple[str, str, int, str], before: int, page: Page) -> None:
        with self._lock:
            old = self._pages.pop(key, None)
            self._characters += _characters(page) - (_characters(old[1]) if old else 0)
            self._pages[key] = before, page
            while self._characters > _MAX_CACHED_CHARACTERS and len(self._pages) > 1:
                _key, (_before, dropped) = self._pages.popitem(last=False)
                self._characters -= _characters(dropped)

    def _texts(
        self,
        bars: list[MarketBar],
        first: int,
        previous: MarketBar | None,
        asked: tuple[str, str, int],
        time_zone: str,
    ) -> Page:
        listing = self._market.find(asked[0])
        exchange = listing.timezone if listing else "Etc/UTC"
        is_daily = asked[1][-1] in "DWM"
        zone = zoneinfo.ZoneInfo(exchange if is_daily or time_zone == "exchange" else time_zone)
        times = ([previous.time] if previous else []) + [bar.time for bar in bars]
        local = [time + _offset_s(zone, time) for time in times]
        if is_daily:
            # The mark of a day is midnight of its trade date, which begins the evening before.
            to_midnight_s = _DAY_S - _EVENING_S
            local = [(time + to_midnight_s) // _DAY_S * _DAY_S for time in local]
        pairs = zip([None, *local[:-1]], local, strict=True)
        weights = [_weight(before, after, is_daily=is_daily) for before, after in pairs]
        if previous:
            del local[0], weights[0]
        marks = zip(weights, local, range(first, first + len(bars)), strict=True)
        return Page(
            len(bars),
            bars[0].time,
            bars[-1],
            ",".join(_bar_text(first + i, bar) for i, bar in enumerate(bars)),
            ",".join(f"{bar.time}.0" for bar in bars),
            ",".join(f"[{weight},{time},{i}]" for weight, time, i in marks),
        )


def _characters(page: Page) -> int:
    return len(page.bars) + len(page.changes) + len(page.marks)


def _bar_text(index: int, bar: MarketBar) -> str:
    volume = "" if bar.volume is None else f",{float(bar.volume)!r}"
    prices = f"{bar.open!r},{bar.high!r},{bar.low!r},{bar.close!r}"
    return f'{{"i":{index},"v":[{float(bar.time)!r},{prices}{volume}]}}'


def _series_text(
    series: _Series,
    bars: str,
    close_time: int | None,
    *,
    indexes: str = "[]",
    with_node: bool = False,
) -> str:
    node = '"node":"lo1-charts-free-1-series-loopb-1",' if with_node else ""
    last = "" if close_time is None else f',"lbs":{{"bar_close_time":{close_time}}}'
    return (
        f'{to_json(series.name)}:{{{node}"s":[{bars}],"ns":{{"d":"","indexes":{indexes}}},'
        f'"t":{to_json(series.turnaround)}{last}}}'
    )


def _weight(previous: int | None, local: int, *, is_daily: bool) -> int:
    """Return how important a time is on the axis, as the recordings grade it."""
    if previous is None:
        return 40 if is_daily else 10
    if previous // _DAY_S == local // _DAY_S:
        return next((weight for step, weight in _WEIGHTS if local % step == 0), 20)
    before, after = (datetime.fromtimestamp(t, timezone.utc) for t in (previous, local))
    if before.year != after.year:
        return 70
    if before.month != after.month:
        return 60
    return 40 if before.isocalendar()[1] == after.isocalendar()[1] else 50


def _offset_s(zone: zoneinfo.ZoneInfo, moment: int) -> int:
    offset = datetime.fromtimestamp(moment, zone).utcoffset()
    return int(offset.total_seconds()) if offset else 0


def _quote_values(listing: Listing, backend: Backend) -> dict[str, Any]:
    now = backend.now(listing.symbol)
    delay_s = backend.delays_s.get(listing.symbol, 0)
    *earlier, today = backend.market.bars(listing.symbol, "1D", 2, now)
    before = earlier[-1].close if earlier else today.open
    is_open = now <= backend.market.bar_close_time(listing.symbol, "1D", today.time)
    change = round(today.close - before, 8)
    info = listing.info()
    del info["name"], info["full_name"], info["exchange"]
    return info | {
        "lp": today.close,
        "lp_time": int(now),
        "ch": change,
        "chp": round(100 * change / before, 2),
        "volume": 1e100 if today.volume is None else today.volume,
        "open_price": today.open,
        "high_price": today.high,
        "low_price": today.low,
        "prev_close_price": before,
        "current_session": "market" if is_open else "out_of_session",
        "update_mode": f"delayed_streaming_{delay_s}" if delay_s else "streaming",
        "exchange": listing.exchange,
        "short_name": listing.name,
        "original_name": listing.info()["full_name"],
    }


def _seconds(interval: str) -> int:
    match = _INTERVAL.fullmatch(interval)
    return int(match[1] or 1) * _UNIT_S[match[2]] if match else _DAY_S


def _asked(spec: Any) -> tuple[str, bool]:
    """Unwrap ``"EX:SYM"``, ``={json}`` or a wrapper around one: symbol, and extended or not."""
    is_extended = False
    while not isinstance(spec, str) or spec.startswith("="):
        try:
            spec = json.loads(spec[1:]) if isinstance(spec, str) else spec["symbol"]
        except (ValueError, RecursionError, TypeError, LookupError):
            return "", is_extended
        if isinstance(spec, dict):
            is_extended |= spec.get("session") == "extended"
    return spec, is_extended


def _claims(segment: str) -> dict[str, Any]:
    try:
        claims = json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _is_timezone(name: str) -> bool:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _text(value: Any) -> str:
    return value if isinstance(value, str) else to_json(value)


def _plain(name: str, *params: Any) -> str:
    return to_json({"m": name, "p": params})

"""The chart sessions of one connection: symbols, series, older pages and live updates.

Messages have exactly the shape of recorded frames where a recording exists. Unknown behaviour of
the real server, such as the `index_diff` of a second older page, is made up and marked as such.
"""

import re
import zoneinfo
from collections.abc import Callable
from typing import Any

from tvDatafeed.testing.market.corrections import CorrectedBar
from tvDatafeed.testing.market.history import BarHistory, seconds_of
from tvDatafeed.testing.market.listings import PriceOptions
from tvDatafeed.testing.market.market import MarketBar
from tvDatafeed.testing.market.schedule import is_valid_interval
from tvDatafeed.testing.sessions.backend import NODE, Backend, Rights
from tvDatafeed.testing.sessions.chart import BARS_OF_A_PAGE, Chart, ChartSeries, ChartSymbol
from tvDatafeed.testing.sessions.entitlement import series_refusal
from tvDatafeed.testing.sessions.pages import NO_BARS, Page, bar_text, index_diff, series_text
from tvDatafeed.testing.sessions.ranges import loaded_timeframe, window
from tvDatafeed.testing.wire.commands import (
    RefusedError,
    as_text,
    asked_bar_set,
    asked_options,
    asked_symbol,
)
from tvDatafeed.testing.wire.payloads import plain, to_json
from tvDatafeed.testing.wire.recordings import SeriesIds

# The most series of a chart session of an anonymous client, and of one with an account.
_ANONYMOUS_SERIES, _ACCOUNT_SERIES = 1, 10
# A tick adds at most one bar to a series; after a step, the number grows until it is enough.
_LIVE_BARS, _LIVE_GROWTH = 2, 8
_TICKS_OR_RANGE = re.compile(r"[1-9]\d*[TR]")


class Charts:
    """The chart sessions that are open, and the commands that they know.

    Parameters
    ----------
    backend
        The market and the rules of the server.

    Attributes
    ----------
    rights
        What the client's token allows.
    commands
        The handler of each command.
    """

    def __init__(self, backend: Backend) -> None:
        self.rights: Rights = Rights()
        self._backend = backend
        self._texts = backend.texts
        self._sessions: dict[str, Chart] = {}
        # The moment of the answer that is being made: of its bars, and of the times in it.
        self._moment = 0.0
        self.commands: dict[str, Callable[[Chart, list[Any]], list[str]]] = {
            "switch_timezone": self._switch_timezone,
            "resolve_symbol": self._resolve_symbol,
            "create_series": self._create_series,
            "modify_series": self._modify_series,
            "remove_series": self._remove_series,
            "request_more_data": self._request_more_data,
            "request_more_tickmarks": self._request_more_tickmarks,
            "create_study": self._create_study,
        }

    def __contains__(self, session: str) -> bool:
        return session in self._sessions

    @property
    def sessions(self) -> list[str]:
        """The chart sessions that are open, in the order of their creation."""
        return list(self._sessions)

    def create(self, session: str) -> None:
        """Open a session; an open session does not change."""
        self._sessions.setdefault(session, Chart(session))

    def delete(self, session: str) -> None:
        """Close a session if it exists."""
        self._sessions.pop(session, None)

    def handle(self, method: str, session: str, arguments: list[Any]) -> list[str]:
        """Handle a command of an open session and return the payloads of its answer."""
        self._moment = self._backend.clock()
        return self.commands[method](self._sessions[session], arguments)

    def settle(self) -> list[tuple[str, str]]:
        """Return the answers to resolve_symbol that are still to be sent: (symbol, payload)."""
        self._moment = self._backend.clock()
        return [
            (symbol.symbol, payload)
            for chart in self._sessions.values()
            for symbol in chart.symbols.values()
            for payload in self._symbol_answer(chart, symbol)
        ]

    def symbol_of(self, method: str, session: str, arguments: list[Any]) -> str | None:
        """Return the ``"EXCHANGE:NAME"`` that a command is about, or None."""
        chart = self._sessions.get(session)
        if chart is None:
            return None
        for name in map(as_text, arguments):
            if name in chart.symbols:
                return chart.symbols[name].symbol
            if name in chart.series and method != "create_series":
                return chart.series[name].symbol.symbol
        return None

    def updates(self, at: float) -> list[tuple[str, str]]:
        """Return the changes of live series up to a moment: (symbol, payload)."""
        return [
            (series.symbol.symbol, payload)
            for chart in self._sessions.values()
            for series in chart.series.values()
            if series.until_s is None and series.newest is not None
            for payload in self._series_updates(chart, series, series.newest, at)
        ]

    def corrections(self, bar: CorrectedBar, at: float) -> list[tuple[str, str]]:
        """Return the updates for live series that contain a corrected bar: (symbol, payload)."""
        return [
            (bar.symbol, payload)
            for chart in self._sessions.values()
            for series in chart.series.values()
            if self._backend.is_of(
                bar, series.symbol.symbol, series.interval, series.symbol.options
            )
            and series.until_s is None
            and series.newest is not None
            for payload in self._series_corrections(chart, series, series.newest, bar.time, at)
        ]

    def _switch_timezone(self, chart: Chart, arguments: list[Any]) -> list[str]:
        name = as_text(arguments[0]) if arguments else ""
        if name != "exchange" and not _is_timezone(name):
            raise RefusedError("invalid timezone")
        chart.timezone = name
        if name == "exchange":
            # The oldest clients send this after each series; no recording shows the bars repeated.
            return []
        # A public client drops its bars here and waits for new ones; no recording shows the answer.
        return [
            self._bars_text(chart, series, self._sent(chart, series))
            for series in chart.series.values()
            if series.oldest_time is not None
        ]

    def _sent(self, chart: Chart, series: ChartSeries) -> Page:
        """Return the bars that a series contains now, including older pages, numbered from 0."""
        size = series.newest_index + 1 - series.first_index
        page = self._texts.page(self._history(series), size, series.until_s, chart.timezone)
        series.newest_index, series.first_index = page.size - 1, 0
        series.marks, series.future_marks = [page.marks], []
        return page

    def _resolve_symbol(self, chart: Chart, arguments: list[Any]) -> list[str]:
        match arguments:
            case [str(name), str(spec)]:
                symbol, fields = asked_symbol(spec)
                listing = self._backend.find(symbol, self.rights)
                options = asked_options(fields)
                if not self._backend.market.converts(symbol, dict(options).get("currency")):
                    listing = None  # made up: refused like an unknown symbol
                bar_set = asked_bar_set(fields)
                chart.symbols[name] = ChartSymbol(name, symbol, listing, options, bar_set)
                return []
        raise RefusedError

    def _create_series(self, chart: Chart, arguments: list[Any]) -> list[str]:
        match arguments:
            case [str(name), str(turnaround), str(symbol), str(interval), count, *rest] if (
                symbol in chart.symbols
            ):
                series = ChartSeries(name, turnaround, chart.symbols[symbol], interval)
            case _:
                raise RefusedError
        most = _ANONYMOUS_SERIES if self.rights.is_anonymous else _ACCOUNT_SERIES
        if len(chart.series.keys() | {name}) > (self._backend.max_series or most):
            raise RefusedError("exceed limit of series in the session")
        return self._open(chart, series, count, as_text(rest[0]) if rest else "")

    def _modify_series(self, chart: Chart, arguments: list[Any]) -> list[str]:
        match arguments:
            case [str(name), str(turnaround), str(symbol), str(interval), *rest] if (
                symbol in chart.symbols and name in chart.series
            ):
                present = chart.series[name]
                series = ChartSeries(name, turnaround, chart.symbols[symbol], interval)
            case _:
                raise RefusedError
        wanted_range = as_text(rest[0]) if rest else ""
        if wanted_range and (shown := self._show_loaded(chart, present, series, wanted_range)):
            return shown
        return self._open(chart, series, present.count, wanted_range, is_change=True)

    def _show_loaded(
        self, chart: Chart, present: ChartSeries, asked: ChartSeries, wanted_range: str
    ) -> list[str]:
        """Return the answer for a range of bars that were sent before; empty for other bars."""
        special = self._backend.recordings.keys() | self._backend.refusals.keys()
        if present.symbol.symbol in special:
            return []
        timeframe = loaded_timeframe(self._history(present), present, asked, wanted_range)
        if timeframe is None:
            return []
        present.turnaround = asked.turnaround
        where = chart.session, present.name, present.turnaround
        shown = *where, *timeframe, wanted_range
        frames = [plain("series_timeframe", *shown, is_ready) for is_ready in (False, True)]
        loading = self._stamped("series_loading", *where)
        return [loading, *frames, self._completed(chart, present, is_short=False)]

    def _remove_series(self, chart: Chart, arguments: list[Any]) -> list[str]:
        if chart.series.pop(as_text(arguments[0]) if arguments else "", None) is None:
            raise RefusedError
        return []

    def _open(
        self,
        chart: Chart,
        series: ChartSeries,
        count: Any,
        wanted_range: str,
        *,
        is_change: bool = False,
    ) -> list[str]:
        symbol = series.symbol
        refusal = self._backend.refusals.get(symbol.symbol)
        is_interval = is_valid_interval(series.interval) or _TICKS_OR_RANGE.fullmatch(
            series.interval
        )
        if not is_interval:
            raise RefusedError
        if refusal and refusal.message == "critical_error":
            raise RefusedError(refusal.reason, *refusal.details)
        chart.series[series.name] = series
        ids = SeriesIds(chart.session, symbol.name, series.name, series.turnaround)
        recording = self._backend.recordings.get(symbol.symbol)
        if recording:
            with_symbol, symbol.is_answered = not symbol.is_answered, True
            return recording.payloads(ids, with_symbol=with_symbol)
        payloads = [self._stamped("series_loading", chart.session, series.name, series.turnaround)]
        if is_change:
            payloads.append(self._bars_text(chart, series, NO_BARS))
        payloads += self._symbol_answer(chart, symbol)
        reason = series_refusal(series, refusal, self.rights.plan)
        if reason:
            error = "series_error", chart.session, series.name, series.turnaround, reason
            return [*payloads, self._stamped(*error, f"{NODE}@{NODE}")]
        history = self._history(series)
        wanted, series.until_s, timeframe = window(history, count, wanted_range)
        series.count = wanted
        page = self._texts.page(history, wanted, series.until_s, chart.timezone)
        series.oldest_time, series.newest = page.oldest_time, page.newest
        series.newest_index, series.marks = page.size - 1, [page.marks] if page.size else []
        payloads.append(self._bars_text(chart, series, page, switch=page.size - 1))
        if timeframe:
            where = chart.session, series.name, series.turnaround
            payloads.append(plain("series_timeframe", *where, *timeframe, wanted_range, True))
        return [*payloads, self._completed(chart, series, is_short=page.size < wanted)]

    def _stamped(self, name: str, *params: Any) -> str:
        return f"{plain(name, *params)[:-1]}{self._backend.stamp(self._moment)}}}"

    def _history(self, series: ChartSeries, at: float | None = None) -> BarHistory:
        symbol, at = series.symbol, self._moment if at is None else at
        what = symbol.symbol, series.interval, self.rights, symbol.options
        return self._backend.history(*what, at)

    def _symbol_answer(self, chart: Chart, symbol: ChartSymbol) -> list[str]:
        if symbol.is_answered:
            return []
        symbol.is_answered = True
        recording = self._backend.recordings.get(symbol.symbol)
        if recording:
            return recording.symbol_payloads(SeriesIds(chart.session, symbol.name, "", ""))
        refusal = self._backend.refusals.get(symbol.symbol)
        if refusal and refusal.message == "symbol_error":
            details = refusal.reason, *refusal.details
            return [self._stamped("symbol_error", chart.session, symbol.name, *details)]
        if symbol.listing is None:
            return [self._stamped("symbol_error", chart.session, symbol.name, "invalid symbol")]
        info = symbol.listing.info(PriceOptions(**dict(symbol.options)))
        return [self._stamped("symbol_resolved", chart.session, symbol.name, info)]

    def _request_more_data(self, chart: Chart, arguments: list[Any]) -> list[str]:
        match arguments:
            case [str(name), int(wanted)] if name in chart.series and wanted > 0:
                series = chart.series[name]
            case _:
                raise RefusedError
        recording = self._backend.recordings.get(series.symbol.symbol)
        if recording:
            ids = SeriesIds(chart.session, series.symbol.name, series.name, series.turnaround)
            series.pages_sent += 1
            if payloads := recording.page_payloads(ids, series.pages_sent - 1):
                return payloads
        if series.oldest_time is None:
            return [self._completed(chart, series, is_short=True)]
        history = self._history(series)
        # One bar more than is sent: the weight of the first mark depends on the bar before it.
        bars = history.before(series.oldest_time, wanted + 1)
        older = bars[-wanted:]
        if not older:
            return [self._completed(chart, series, is_short=True)]
        series.oldest_time = older[0].time
        diff = index_diff(series.first_index, len(older))
        series.first_index -= len(older)
        page = self._texts.finished(
            history, bars, chart.timezone, wanted, first_index=series.first_index
        )
        series.marks.insert(0, page.marks)
        # The close time and the marks are those of the whole series.
        page = page._replace(
            newest=series.newest, marks=",".join(series.marks + series.future_marks)
        )
        loading = "series_loading", chart.session, series.name, series.turnaround
        return [
            self._stamped(*loading),
            self._bars_text(chart, series, page, diff=diff),
            self._completed(chart, series, is_short=len(older) < wanted),
        ]

    def _request_more_tickmarks(self, chart: Chart, arguments: list[Any]) -> list[str]:
        match arguments:
            case [str(name), int(size)] if name in chart.series and 0 < size <= BARS_OF_A_PAGE:
                series = chart.series[name]
            case _:
                raise RefusedError
        if series.newest is None:
            return []
        # Steps of the interval, ignoring sessions: clients do not use these times as bars.
        times = [
            series.newest.time + step * seconds_of(series.interval) for step in range(1, size + 1)
        ]
        first = series.newest_index + 1
        series.future_marks = [f"[40,{time},{first + step}]" for step, time in enumerate(times)]
        changes = ",".join(f"{time}.0" for time in times)
        return [
            self._timescale(
                chart, "", changes, ",".join(series.future_marks), (first, -series.first_index)
            )
        ]

    def _create_study(self, chart: Chart, arguments: list[Any]) -> list[str]:
        match arguments:
            case [str(name), str(turnaround), str(), *_]:
                where = chart.session, name, turnaround
            case _:
                raise RefusedError
        # Studies are not computed; the error ends the client's wait.
        error = "study_error", *where, "Study not allowed in this connection", f"{NODE}@{NODE}"
        return [self._stamped(*error)]

    def _series_updates(
        self, chart: Chart, series: ChartSeries, last_sent: MarketBar, at: float
    ) -> list[str]:
        history = self._history(series, at)
        size, bars = _LIVE_BARS, history.bars(_LIVE_BARS)
        while bars[0].time > last_sent.time and len(bars) == size:
            size *= _LIVE_GROWTH
            bars = history.bars(size)
        payloads = []
        for bar in bars:
            if bar.time < last_sent.time or bar == last_sent:
                continue
            if bar.time == last_sent.time:
                payloads.append(_du(chart, series, history, bar, series.newest_index))
            else:
                series.newest_index += 1
                item, close_time = bar_text(series.newest_index, bar), history.close_time(bar.time)
                body = series_text(series.name, series.turnaround, item, close_time)
                mark = f"[20,{bar.time},{series.newest_index}]"
                series.marks.append(mark)
                del series.future_marks[:1]
                where = series.newest_index, -series.first_index
                payloads.append(self._timescale(chart, body, f"{bar.time}.0", mark, where, at=at))
            series.newest = last_sent = bar
        return payloads

    def _series_corrections(
        self, chart: Chart, series: ChartSeries, last_sent: MarketBar, time: int, at: float
    ) -> list[str]:
        if series.oldest_time is None or not series.oldest_time <= time <= last_sent.time:
            return []
        history = self._history(series, at)
        bars = [bar for bar in history.since(time) if bar.time <= last_sent.time]
        if time not in (history.corrections or ()) or not bars or bars[0] == last_sent:
            return []
        if bars[0].time == last_sent.time:
            series.newest = bars[0]
        return [_du(chart, series, history, bars[0], series.newest_index + 1 - len(bars))]

    def _bars_text(
        self,
        chart: Chart,
        series: ChartSeries,
        page: Page,
        *,
        switch: int = -1,
        diff: str = "",
    ) -> str:
        close_time = None
        if page.newest is not None:
            close_time = self._history(series).close_time(page.newest.time)
        body = series_text(
            series.name, series.turnaround, page.bars, close_time, with_node=bool(page.size)
        )
        return self._timescale(
            chart,
            body,
            page.changes,
            page.marks,
            (series.first_index, -series.first_index),
            diff=diff,
            switches=to_json({series.name: {"market": switch}}) if switch >= 0 else "",
        )

    def _timescale(
        self,
        chart: Chart,
        body: str,
        changes: str,
        marks: str,
        where: tuple[int, int],
        *,
        diff: str = "",
        switches: str = "",
        at: float | None = None,
    ) -> str:
        index, zoffset = where
        more = f',"last_session_switches":{switches}' if switches else ""
        moment = self._moment if at is None else at
        return (
            f'{{"m":"timescale_update","p":[{to_json(chart.session)},{{{body}}},'
            f'{{"index":{index},"zoffset":{zoffset},"changes":[{changes}],"marks":[{marks}],'
            f'"index_diff":[{diff}]{more}}}]{self._backend.stamp(moment)}}}'
        )

    def _completed(self, chart: Chart, series: ChartSeries, *, is_short: bool) -> str:
        info: dict[str, Any] = {"rt_update_period": 0 if self.rights.plan else 5}
        oldest_time = series.oldest_time
        # A range before all bars of the plan is empty, even if history has bars.
        is_at_limit = oldest_time is None and series.until_s is not None
        if oldest_time is not None:
            is_at_limit = self._history(series).is_at_limit(oldest_time)
        if is_at_limit:
            info["data_completed"] = "limit"
        elif is_short:
            info["data_completed"] = "end"
        mode = self._backend.update_mode(series.symbol.symbol, self.rights)
        where = chart.session, series.name, mode, series.turnaround
        return self._stamped("series_completed", *where, info)


def _du(chart: Chart, series: ChartSeries, history: BarHistory, bar: MarketBar, index: int) -> str:
    """Return the du message that replaces a bar."""
    close_time = history.close_time(series.newest.time if series.newest else bar.time)
    item = bar_text(index, bar)
    body = series_text(series.name, series.turnaround, item, close_time, indexes='"nochange"')
    return f'{{"m":"du","p":[{to_json(chart.session)},{{{body}}}]}}'


def _is_timezone(name: str) -> bool:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True

"""Queries: the checked arguments of a call, and the requests made from them."""

import sys
import time
from dataclasses import dataclass
from datetime import tzinfo
from typing import TYPE_CHECKING, Any, Literal

from tvDatafeed.config import DataConfig
from tvDatafeed.exceptions import DataValidationError
from tvDatafeed.interval import CustomInterval, Interval, IntervalLike, as_interval
from tvDatafeed.query.dates import (
    EXCHANGE_TIMEZONE,
    DateLike,
    DateRange,
    date_range,
    timezone_named,
    zone_choice,
)
from tvDatafeed.query.periods import (
    Period,
    PeriodRange,
    checked_period,
    period_range,
    session_bars,
)
from tvDatafeed.query.view import View
from tvDatafeed.validators import Validators

if TYPE_CHECKING:
    from tvDatafeed.protocol.events import SeriesRequest


Adjustment = Literal["splits", "dividends", "none"]
Dates = Literal["open", "trading"]
Validation = Literal["raise", "off"]
StoreUse = Literal["use", "refresh", "off", "only"]


_ADJUSTMENTS = ("splits", "dividends", "none")
_DATES = ("open", "trading")
_VALIDATIONS = ("raise", "off")


@dataclass(frozen=True)
class RangeOptions:
    """The arguments of `TvDatafeed.get_hist` that select bars."""

    interval: IntervalLike
    n_bars: int | None
    start_date: DateLike | None
    end_date: DateLike | None
    timezone: str | tzinfo | None
    period: Period | None = None


@dataclass(frozen=True)
class SeriesOptions:
    """The arguments of `TvDatafeed.get_hist` that select prices."""

    extended_session: bool
    adjustment: Adjustment
    currency: str | None
    backadjusted: bool


@dataclass(frozen=True)
class FrameOptions:
    """The arguments of `TvDatafeed.get_hist` that select the content of the frame."""

    dates: Dates
    closed_only: bool
    validate: Validation | None


class HistoryQuery:
    """Checked options of one call, for any symbol.

    Parameters
    ----------
    bars, series, frame
        The options of `TvDatafeed.get_hist`.
    data
        The settings for options that are not passed.

    Raises
    ------
    ConfigurationError, InvalidIntervalError, DataValidationError
        If an option is invalid.
    """

    def __init__(
        self, bars: RangeOptions, series: SeriesOptions, frame: FrameOptions, data: DataConfig
    ) -> None:
        self._series = series
        self._frame = frame
        self._data = data
        self._now_s = time.time()
        self._zone_name = zone_choice(bars.timezone, data.timezone)
        zone = None
        if self._zone_name and self._zone_name != EXCHANGE_TIMEZONE:
            zone = timezone_named(self._zone_name)
        self._interval = as_interval(bars.interval)
        self._dates = _checked_dates(
            bars,
            self._interval,
            zone,
            of_exchange=self._zone_name == EXCHANGE_TIMEZONE,
            now_s=self._now_s,
        )
        self._count = _checked_count(bars, data)
        _check_choice("adjustment", series.adjustment, _ADJUSTMENTS)
        _check_choice("dates", frame.dates, _DATES)
        if frame.validate is not None:
            _check_choice("validate", frame.validate, _VALIDATIONS)
        self._currency = _checked_currency(series.currency)

    def request(self, symbol: str) -> "SeriesRequest":
        """Return the request for a full symbol."""
        # JSON is slow to import.
        from tvDatafeed.protocol.events import SeriesRequest  # noqa: PLC0415
        from tvDatafeed.protocol.series import EARLIEST_BAR_S  # noqa: PLC0415

        series, dates = self._series, self._dates
        if isinstance(dates, PeriodRange):
            dates = dates.widest()
        interval_s = self._interval.seconds
        page_size = self._data.max_bars
        count, now_s = self._count, time.time()
        since_s = dates.earliest_s if dates else None
        until_s = dates.latest_s if dates else None
        if dates and dates.sessions:
            count = session_bars(dates.sessions, self._interval)
        if count is not None:
            # Request more bars: the forming bar is not closed, and bars may open after an end that
            # is not known exactly yet.
            count += bool(self._frame.closed_only) + (
                dates.surplus_bars(interval_s) if dates else 0
            )
        elif since_s is None:
            since_s = EARLIEST_BAR_S
        else:
            end_s = now_s if until_s is None else until_s
            page_size = min(page_size, max(int((end_s - since_s) / interval_s), 0) + 2)
        return SeriesRequest(
            symbol=symbol,
            interval=self._interval.value,
            count=count,
            session="extended" if series.extended_session else "regular",
            adjustment=series.adjustment,
            currency=self._currency,
            backadjusted=bool(series.backadjusted),
            page_size=page_size,
            since_s=since_s,
            until_s=until_s,
            is_live=until_s is not None and until_s >= now_s,
        )

    def view(self) -> View:
        """Return which bars of the answer are shown, and how."""
        frame = self._frame
        return View(
            count=self._count,
            dates=self._dates,
            closed_only=bool(frame.closed_only),
            timezone=self._zone_name,
            with_trading_days=frame.dates == "trading" and not self._interval.is_intraday,
            fill_missing_volume=self._data.fill_missing_volume,
            validation=frame.validate or ("warn" if self._data.validate_data else "off"),
        )


def _checked_dates(
    bars: RangeOptions,
    interval: Interval | CustomInterval,
    zone: tzinfo | None,
    *,
    of_exchange: bool,
    now_s: float,
) -> DateRange | PeriodRange | None:
    start, end = bars.start_date, bars.end_date
    period = checked_period(bars.period, n_bars=bars.n_bars, start_date=start)
    if period is not None:
        return period_range(
            period, end, interval=interval, zone=zone, of_exchange=of_exchange, now_s=now_s
        )
    if start is None and end is None:
        return None
    if start is not None and bars.n_bars is not None:
        raise DataValidationError(
            "n_bars/date_range",
            bars.n_bars,
            "cannot go with start_date; pass one of both, or end_date and n_bars",
        )
    if start is None and bars.n_bars is None:
        raise DataValidationError(
            "date_range",
            end,
            "end_date needs a start_date, a period, or n_bars for the last bars up to it",
        )
    return date_range(
        start,
        end,
        zone=zone,
        of_exchange=of_exchange,
        of_trading_days=not interval.is_intraday,
    )


def _checked_count(bars: RangeOptions, data: DataConfig) -> int | None:
    if bars.n_bars is None and (bars.start_date is not None or bars.period is not None):
        return None
    count = data.default_bars if bars.n_bars is None else bars.n_bars
    return Validators.validate_n_bars(count, max_bars=sys.maxsize)


def check_on_error(on_error: str) -> None:
    """Refuse a word for what becomes of symbols that fail; see `TvDatafeed.get_hist_multi`."""
    if on_error not in {"raise", "collect"}:
        raise DataValidationError("on_error", on_error, "must be 'raise' or 'collect'")


def _check_choice(field: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise DataValidationError(field, value, f"must be one of {', '.join(choices)}")


def _checked_currency(currency: Any) -> str | None:
    if currency is None:
        return None
    if not isinstance(currency, str) or not currency.strip().isalnum():
        raise DataValidationError("currency", currency, "must be a code such as 'USD'")
    return currency.strip().upper()

"""The state that all conversations of one server share: market, clock, accounts and settings."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

from tvDatafeed.testing.accounts.accounts import AccountService
from tvDatafeed.testing.accounts.tokens import claims_of
from tvDatafeed.testing.market.corrections import (
    CorrectedBar,
    Correction,
    Corrections,
    canonical,
    changed,
)
from tvDatafeed.testing.market.history import BarHistory
from tvDatafeed.testing.market.listings import Listing, PriceOptions
from tvDatafeed.testing.market.market import Market
from tvDatafeed.testing.market.restatements import Restatements
from tvDatafeed.testing.sessions.pages import BarTexts
from tvDatafeed.testing.wire.payloads import plain
from tvDatafeed.testing.wire.recordings import Recording

NODE = "lo1-charts-free-1-tvbs-loopb-1"

# The limits of intraday bars on TradingView's pages; daily and longer bars go back further.
PLAN_BARS: Mapping[str, int] = {
    "": 5_000,
    "pro": 10_000,
    "pro_plus": 10_000,
    "pro_premium": 20_000,
    "ultimate": 40_000,
}

_LITERAL_TOKEN = re.compile(r"unauthorized_user_token|widget_user_token(-.+)?")


@dataclass(frozen=True)
class Refusal:
    """A refusal of a symbol that a test has requested.

    Parameters
    ----------
    message
        ``"symbol_error"``: the symbol does not resolve, and its series gets a series_error too.
        ``"series_error"``: the symbol resolves, and its series fails. ``"critical_error"``: its
        series aborts the chart session.
    reason
        The reason in the message, such as ``"permission denied"`` or ``"resolution_not_entitled"``.
    details
        The texts after the reason, such as ``("group", "economics_paid")``.
    """

    message: Literal["symbol_error", "series_error", "critical_error"]
    reason: str
    details: tuple[str, ...] = ()


class Rights(NamedTuple):
    """What the token of a client allows; the default is an anonymous client.

    Attributes
    ----------
    plan
        The plan; all plans except "" include seconds and custom intervals.
    realtime
        The exchanges and symbols, in lower case, that are not delayed for this client.
    is_anonymous
        Whether the client has no account.
    """

    plan: str = ""
    realtime: frozenset[str] = frozenset()
    is_anonymous: bool = True

    def has_realtime(self, symbol: str) -> bool:
        """Whether the client has real-time data of an ``"EXCHANGE:NAME"``."""
        lowered = symbol.lower()
        return lowered in self.realtime or lowered.partition(":")[0] in self.realtime

    @classmethod
    def of(cls, token: str) -> "Rights":
        """Return the rights of a token; its ``perm`` is a comma list of exchanges."""
        claims = claims_of(token)
        if claims is None:
            return cls()
        names = str(claims.get("perm") or "").lower().split(",")
        return cls(str(claims.get("plan") or ""), frozenset(names) - {""}, is_anonymous=False)


@dataclass
class Backend:
    """The market and the rules of a server.

    Parameters
    ----------
    market
        The listings and their bars.
    clock
        Returns the time in epoch seconds.
    accounts
        The accounts and their tokens.
    bad_tokens
        Tokens that are refused although they look valid.
    max_bars
        The most bars of a symbol and interval.
    plan_limits
        The most intraday bars by plan, instead of `max_bars`; None for no difference.
    max_sessions_per_connection
        How many chart and quote sessions a connection may open in its lifetime; None for no limit.
    max_connections_per_account
        How many connections an account may have; a new one closes the oldest. None for no limit.
    max_series
        The most series of a chart session; None for the limits of TradingView.
    ignore_dead_sessions
        Whether commands of a chart session are ignored after its critical_error.
    refusals, recordings, delays_s
        By symbol: its refusal, the recording that answers it, its delay in seconds. Delays can also
        be by exchange.
    texts
        A cache of bars as text.
    corrections, restatements
        The corrected bars; the splits and dividends while the server runs.
    """

    market: Market
    clock: Callable[[], float]
    accounts: AccountService
    bad_tokens: set[str]
    max_bars: int
    plan_limits: Mapping[str, int] | None = None
    max_sessions_per_connection: int | None = None
    max_connections_per_account: int | None = None
    max_series: int | None = None
    ignore_dead_sessions: bool = False
    refusals: dict[str, Refusal] = field(default_factory=dict)
    recordings: dict[str, Recording] = field(default_factory=dict)
    delays_s: dict[str, int] = field(default_factory=dict)
    texts: BarTexts = field(default_factory=BarTexts)
    corrections: Corrections = field(default_factory=Corrections)
    restatements: Restatements = field(default_factory=Restatements)

    def find(self, symbol: str, rights: Rights) -> Listing | None:
        """Return a listing as a client sees it, or None if it does not exist.

        A client with real-time data of the exchange gets it from there. All others get it from the
        listing's other `feed`, if there is one.
        """
        listing = self.market.find(symbol)
        if listing is not None and listing.feed and rights.has_realtime(symbol):
            return replace(listing, feed="")
        return listing

    def delay_s(self, symbol: str, rights: Rights) -> int:
        """Return by how many seconds a symbol is delayed for a client."""
        if not self.delays_s or rights.has_realtime(symbol):
            return 0
        exchange = symbol.partition(":")[0]
        return self.delays_s.get(symbol, self.delays_s.get(exchange, 0))

    def data_time(self, symbol: str, rights: Rights, at: float) -> float:
        """Return the moment that a symbol's data shows at `at`; earlier if it is delayed."""
        return at - self.delay_s(symbol, rights)

    def history(
        self,
        symbol: str,
        interval: str,
        rights: Rights,
        options: tuple[tuple[str, Any], ...] = (),
        at: float | None = None,
    ) -> BarHistory:
        """Return the bars of a symbol that a client with these rights may see.

        Parameters
        ----------
        symbol, interval, options
            As in `BarHistory`.
        rights
            The rights of the client's token.
        at
            Epoch seconds; None for now.
        """
        limit = self.max_bars
        if self.plan_limits is not None and interval[-1] not in "DWM":
            limit = self.plan_limits.get(rights.plan, limit)
        at = self.clock() if at is None else at
        now = self.data_time(symbol, rights, at)
        return self._history(symbol, interval, now, limit, options, at)

    def _history(  # noqa: PLR0917 - the fields of a BarHistory
        self,
        symbol: str,
        interval: str,
        now: float,
        limit: int,
        options: tuple[tuple[str, Any], ...],
        at: float,
    ) -> BarHistory:
        """Return bars up to `now` with the changes that have taken effect at `at`."""
        known = None
        if not self.corrections.is_empty:
            asked = PriceOptions(**dict(options))
            key = self.canonical_options(symbol, interval, asked)
            known = self.corrections.of(symbol, interval, key)
        restatements = self.restatements.in_force(symbol, at)
        return BarHistory(self.market, symbol, interval, now, limit, options, known, restatements)

    def split(self, symbol: str, ratio: float, before: float | None, at: float | None) -> None:
        """Add a split; see `FakeTradingView.split`."""
        before, at = self._restatement_times(symbol, before, at)
        self.restatements.add_split(symbol, ratio, before, at)

    def dividend(self, symbol: str, amount: float, before: float | None, at: float | None) -> None:
        """Add a dividend; see `FakeTradingView.dividend`."""
        before, at = self._restatement_times(symbol, before, at)
        days = self._history(symbol, "1D", at, self.max_bars, (), at).bars(1, before - 1)
        if not days:
            raise ValueError(f"{symbol} has no daily bar before {before}")
        self.restatements.add_dividend(symbol, amount, days[0].close, before, at)

    def _restatement_times(
        self, symbol: str, before: float | None, at: float | None
    ) -> tuple[float, float]:
        if self.market.find(symbol) is None:
            raise ValueError(f"There is no {symbol} in this market")
        now = self.clock()
        at = now if at is None else at
        before = at if before is None else before
        if not now <= at < math.inf:
            raise ValueError(f"at must not be before the server's time, {now!r}: it is {at!r}")
        if not math.isfinite(before):
            raise ValueError(f"before must be a finite number, not {before!r}")
        return before, at

    def correct(self, bar: CorrectedBar, values: Mapping[str, float | None], at: float) -> None:
        """Change a bar after the fact.

        Parameters
        ----------
        bar
            The bar.
        values
            The new values, see `changed`.
        at
            The moment of the correction, epoch seconds.

        Raises
        ------
        ValueError
            If the bar does not exist, or the values or options are not valid.
        """
        symbol, interval, time, options = bar
        if self.market.find(symbol) is None:
            raise ValueError(f"There is no {symbol} in this market")
        if not self.market.converts(symbol, options.currency):
            raise ValueError(f"Prices of {symbol} cannot be converted to {options.currency}")
        # A bar exists when it has begun, even if some clients get it later.
        history = self._history(
            symbol, interval, at, self.max_bars, tuple(vars(options).items()), at
        )
        current = history.bars(1, time)
        if not current or current[0].time != time:
            raise ValueError(f"{symbol} has no bar of interval {interval} that begins at {time}")
        (before,) = replace(history, corrections=None).bars(1, time)
        after = changed(current[0], values)
        self.corrections.add(bar, Correction(before, after, history.restatements))

    def is_of(
        self, bar: CorrectedBar, symbol: str, interval: str, options: tuple[tuple[str, Any], ...]
    ) -> bool:
        """Whether a corrected bar is one of a symbol and interval with these options."""
        if symbol != bar.symbol or canonical(interval) != canonical(bar.interval):
            return False
        asked = PriceOptions(**dict(options))
        return self.canonical_options(symbol, interval, asked) == bar.options

    def canonical_options(self, symbol: str, interval: str, options: PriceOptions) -> PriceOptions:
        """Return the same options for all requests that get the same bars."""
        listing = self.market.find(symbol)
        if listing and options.currency == listing.currency:
            options = replace(options, currency=None)
        if interval[-1] in "DWM":
            options = replace(options, session="regular")
        return options

    def update_mode(self, symbol: str, rights: Rights) -> str:
        """Return the update mode of a symbol for a client, as in series_completed."""
        delay_s = self.delay_s(symbol, rights)
        return f"delayed_streaming_{delay_s}" if delay_s else "streaming"

    def verdict(self, token: str) -> Literal["good", "ended", "bad"]:
        """Check a data token.

        If the server has accounts, only their tokens are good; otherwise all that look valid.
        """
        if token in self.bad_tokens:
            return "bad"
        if self.accounts.tokens.is_known(token):
            now = self.accounts.rules.auth_clock()
            return "ended" if self.accounts.tokens.has_ended(token, now) else "good"
        if _LITERAL_TOKEN.fullmatch(token):
            return "good"
        claims = claims_of(token)
        if claims is None or self.accounts.all():
            return "bad"
        expiry = claims.get("exp")
        is_over = isinstance(expiry, int | float) and expiry < self.clock()
        return "ended" if is_over else "good"

    def stamp(self, at: float | None = None) -> str:
        """Return the time fields at the end of a message; None for the current time."""
        now = self.clock() if at is None else at
        return f',"t":{int(now)},"t_ms":{int(now * 1000)}'

    def stamped(self, name: str, *params: Any) -> str:
        """Format a message that contains its time."""
        return f"{plain(name, *params)[:-1]}{self.stamp()}}}"

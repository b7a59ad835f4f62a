"""The state that all conversations of one server share: market, clock, accounts and settings."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from tvDatafeed.testing.accounts.accounts import AccountService
from tvDatafeed.testing.accounts.tokens import claims_of
from tvDatafeed.testing.market.corrections import Correction, Corrections, changed
from tvDatafeed.testing.market.history import BarHistory
from tvDatafeed.testing.market.listings import PriceOptions
from tvDatafeed.testing.market.market import Market
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
        By symbol: its refusal, the recording that answers it, its delay in seconds.
    texts
        A cache of bars as text.
    corrections
        The corrected bars.
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

    def data_time(self, symbol: str, at: float) -> float:
        """Return the moment that a symbol's data shows at `at`; earlier if it is delayed."""
        return at - self.delays_s.get(symbol, 0)

    def history(
        self,
        symbol: str,
        interval: str,
        plan: str,
        options: tuple[tuple[str, Any], ...] = (),
        at: float | None = None,
    ) -> BarHistory:
        """Return the bars of a symbol that a client with this plan may see.

        Parameters
        ----------
        symbol, interval, options
            As in `BarHistory`.
        plan
            The plan in the client's token.
        at
            Epoch seconds; None for now.
        """
        limit = self.max_bars
        if self.plan_limits is not None and interval[-1] not in "DWM":
            limit = self.plan_limits.get(plan, limit)
        now = self.data_time(symbol, self.clock() if at is None else at)
        known = self.corrections.of(symbol, interval)
        if known and not self._is_by_default(symbol, interval, options):
            known = None
        return BarHistory(self.market, symbol, interval, now, limit, options, known)

    def correct(
        self, symbol: str, interval: str, time: int, values: Mapping[str, float | None], at: float
    ) -> None:
        """Change a bar after the fact.

        Parameters
        ----------
        symbol, interval, time
            The bar; `time` is in epoch seconds.
        values
            The new values, see `changed`.
        at
            The moment of the correction, epoch seconds.

        Raises
        ------
        ValueError
            If the bar does not exist, or the values are not valid.
        """
        if self.market.find(symbol) is None:
            raise ValueError(f"There is no {symbol} in this market")
        history = BarHistory(
            self.market, symbol, interval, self.data_time(symbol, at), self.max_bars
        )
        bars = history.bars(1, time)
        if not bars or bars[0].time != time:
            raise ValueError(f"{symbol} has no bar of interval {interval} that begins at {time}")
        known = self.corrections.of(symbol, interval) or {}
        current = known[time].applied(bars[0]) if time in known else bars[0]
        self.corrections.add(symbol, interval, Correction(bars[0], changed(current, values)))

    def _is_by_default(
        self, symbol: str, interval: str, options: tuple[tuple[str, Any], ...]
    ) -> bool:
        """Return whether these options are the default for this symbol and interval."""
        listing = self.market.find(symbol)
        asked = PriceOptions(**dict(options))
        if listing and asked.currency == listing.currency:
            asked = replace(asked, currency=None)
        if interval[-1] in "DWM":
            asked = replace(asked, session="regular")
        return asked == PriceOptions()

    def update_mode(self, symbol: str) -> str:
        """Return the update mode of a symbol, as in series_completed."""
        delay_s = self.delays_s.get(symbol, 0)
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

"""What all conversations of one server share: the market, the clock and what a test has ordered."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from tvDatafeed.testing.accounts import Office
from tvDatafeed.testing.market import Market
from tvDatafeed.testing.pages import BarTexts
from tvDatafeed.testing.payloads import plain
from tvDatafeed.testing.recordings import Recording
from tvDatafeed.testing.tokens import claims_of

NODE = "lo1-charts-free-1-tvbs-loopb-1"

_LITERAL_TOKEN = re.compile(r"unauthorized_user_token|widget_user_token(-.+)?")


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
    """The market and the rules of a server.

    Parameters
    ----------
    market
        What is traded.
    clock
        Epoch seconds.
    office
        The accounts, and the tokens that were issued to them.
    bad_tokens
        Tokens that are refused though they look right.
    max_bars_per_reply
        The plan's limit of the bars of a series.
    refusals, recordings, delays_s
        By symbol: what is refused, what is answered from a recording, and what comes late.
    """

    market: Market
    clock: Callable[[], float]
    office: Office
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

    def update_mode(self, symbol: str) -> str:
        """Return how the server calls the way a symbol is updated."""
        delay_s = self.delays_s.get(symbol, 0)
        return f"delayed_streaming_{delay_s}" if delay_s else "streaming"

    def verdict(self, token: str) -> Literal["good", "ended", "bad"]:
        """Judge a data token.

        Where there are accounts, only their tokens are good; without any, all that look right.
        """
        if token in self.bad_tokens:
            return "bad"
        if self.office.tokens.is_known(token):
            now = self.office.rules.auth_clock()
            return "ended" if self.office.tokens.has_ended(token, now) else "good"
        if _LITERAL_TOKEN.fullmatch(token):
            return "good"
        claims = claims_of(token)
        if claims is None or self.office.all():
            return "bad"
        expiry = claims.get("exp")
        is_over = isinstance(expiry, int | float) and expiry < self.clock()
        return "ended" if is_over else "good"

    def stamp(self) -> str:
        """Return the end of a message that carries its time."""
        now = self.clock()
        return f',"t":{int(now)},"t_ms":{int(now * 1000)}'

    def stamped(self, name: str, *params: Any) -> str:
        """Format a message that carries its time."""
        return f"{plain(name, *params)[:-1]}{self.stamp()}}}"

"""Sign in with the cookies of a browser: the surest way, and the only one for Google or Apple.

In a browser that is signed in to TradingView: F12, Application or Storage, Cookies; copy the values
of sessionid and sessionid_sign.

    python examples/cookie_login.py
    TV_SESSIONID=... TV_SESSIONID_SIGN=... python examples/cookie_login.py --real
"""

import os
import sys

from service import parser, service

from tvDatafeed import AuthenticationError, NetworkError, TvDatafeed, TvDatafeedConfig
from tvDatafeed.testing import Account, FakeTradingView


def bars_with(config: TvDatafeedConfig, sessionid: str, sessionid_sign: str) -> int:
    """Sign in with cookies, and fetch bars; 1 when that does not work."""
    try:
        with TvDatafeed(
            sessionid=sessionid, sessionid_sign=sessionid_sign, token_cache=False, config=config
        ) as tv:
            bars = tv.get_hist("NASDAQ:AAPL", n_bars=5)
    except AuthenticationError as error:
        print(f"The cookies are refused, copy fresh ones: {error}", file=sys.stderr)
        return 1
    except NetworkError as error:
        print(f"TradingView cannot be reached: {error}", file=sys.stderr)
        return 1
    print(f"The cookies gave a token, and {len(bars)} bars came.")
    return 0


def main() -> int:
    """Return the cookies of the environment, or of a made-up browser."""
    arguments = parser(__doc__).parse_args()
    if not arguments.real:
        with FakeTradingView(accounts=[Account("alice", "open sesame")]) as server:
            cookies = server.issue_cookies("alice")
            return bars_with(server.config(), cookies.sessionid, cookies.sessionid_sign)
    missing = [name for name in ("TV_SESSIONID", "TV_SESSIONID_SIGN") if name not in os.environ]
    if missing:
        print(f"Set {' and '.join(missing)} first: see --help", file=sys.stderr)
        return 1
    with service(arguments) as config:
        return bars_with(config, os.environ["TV_SESSIONID"], os.environ["TV_SESSIONID_SIGN"])


if __name__ == "__main__":
    sys.exit(main())

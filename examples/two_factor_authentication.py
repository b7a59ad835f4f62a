"""Sign in to an account with a second factor: by the app's secret, or by a code that is typed.

    python examples/two_factor_authentication.py [--ask] [--real]

With --real the account is that of TV_USERNAME, TV_PASSWORD and TV_TOTP_SECRET.
"""

import getpass
import os
import sys

from service import parser, service

from tvDatafeed import AuthenticationError, NetworkError, TvDatafeed, TwoFactorRequiredError
from tvDatafeed.testing import Account

# Of the TradingView inside this example; a real password does not belong into a program.
PRACTICE = Account("bob", "open sesame", second_factor="totp")


def ask() -> str:
    """Ask for the code: called only if TradingView wants one."""
    return getpass.getpass("Code of the authenticator app: ")


def main() -> int:
    """Sign in, and fetch a bar; 1 when that does not work."""
    reader = parser(__doc__)
    reader.add_argument("--ask", action="store_true", help="type the code instead of the secret")
    arguments = reader.parse_args()
    username, password, secret = PRACTICE.username, PRACTICE.password, PRACTICE.totp_secret
    if arguments.real:
        username, password = os.environ["TV_USERNAME"], os.environ["TV_PASSWORD"]
        secret = os.environ.get("TV_TOTP_SECRET", "")
    factor = {"totp_code": ask} if arguments.ask or not secret else {"totp_secret": secret}
    with service(arguments, accounts=[PRACTICE]) as config:
        try:
            # token_cache=False: nothing of this practice is kept. Leave it out in your program,
            # and the next run does not sign in again.
            with TvDatafeed(username, password, token_cache=False, config=config, **factor) as tv:
                bars = tv.get_hist("NASDAQ:AAPL", n_bars=5)
        except TwoFactorRequiredError as error:
            print(f"A code of {error.method} is needed: {error}", file=sys.stderr)
            return 1
        except AuthenticationError as error:
            print(f"Not signed in: {error}", file=sys.stderr)
            return 1
        except NetworkError as error:
            print(f"TradingView cannot be reached: {error}", file=sys.stderr)
            return 1
    print(f"Signed in as {username}, and {len(bars)} bars came.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

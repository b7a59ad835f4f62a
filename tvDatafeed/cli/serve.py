"""The command that runs the loopback TradingView, for programs in other terminals."""

import argparse
import dataclasses
import signal
import sys
import time
from typing import TYPE_CHECKING

from tvDatafeed.cli.arguments import AddCommand, amount
from tvDatafeed.cli.console import EXIT_OK, EXIT_USAGE, CommandError, note, show

if TYPE_CHECKING:
    from tvDatafeed.testing import Account, FakeTradingView, Fault


__all__ = ["add_serve_command"]

_LONGEST_SLEEP_S = 3600.0
# Open series and quotes are updated as often as a visible page would show changes.
_TICK_INTERVAL_S = 0.5
# The first year of the calendars of the made-up market, and a year long after its last bar.
_FIRST_YEAR, _LAST_YEAR = 1900, 2200
# The accounts of the documentation's page on signing in.
_PASSWORD = "open sesame"  # noqa: S105 - of made-up accounts
_PRACTICE = """\
accounts, with the password "open sesame": alice; bob, whose app has the secret JBSWY3DPEHPK3PXP;
carol, who is sent the code 024680; dave, who has to solve a captcha. Cookies and token are of
alice."""
# The help describes these once, for all faults.
_COMMON_FAULT_OPTIONS = {"times", "symbol"}

_REPLAYED = (
    "replaying {}, until Ctrl-C, again and again: requests that were recorded get their recorded "
    "answers, with any password, cookie or token; others are refused, with a line here"
)

_SERVE_EXAMPLES = """\
examples:
  tvdatafeed serve --port 8765
  tvdatafeed serve --fault close_code:code=1001,times=2 --fault glued_heartbeat
  tvdatafeed serve --round-trip 0.05 --bandwidth 250000       as far away as TradingView may be
  tvdatafeed serve --start 2026-08-20T13:30Z --speed 60       an opening, at a minute a second
  tvdatafeed serve --accounts                                 with somebody to sign in as
  tvdatafeed serve --accounts --max-connections 1             two programs of one account meet
  tvdatafeed serve --replay session.jsonl                     answer as TradingView did
  tvdatafeed serve --list-faults

Set the variables it prints, in another terminal, and every program that uses tvDatafeed
talks to it. Every fault takes times=N, how often it strikes, and symbol=EXCHANGE:NAME.
"""


def add_serve_command(command: AddCommand) -> None:
    """Add ``serve`` to the parser.

    Parameters
    ----------
    command : callable
        Adds one, from its name, what runs it, a summary and examples.
    """
    serve = command("serve", _serve, "run a made-up TradingView on this machine", _SERVE_EXAMPLES)
    serve.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    serve.add_argument(
        "--port", type=_port, default=0, metavar="N", help="default: one that is free"
    )
    serve.add_argument(
        "--heartbeat",
        type=amount("number of seconds", is_zero_allowed=False),
        default=10.0,
        metavar="SECONDS",
        help="time between heartbeats; default: %(default)s",
    )
    serve.add_argument(
        "--round-trip",
        type=amount("number of seconds"),
        default=0.0,
        metavar="SECONDS",
        help="time from a command to its answer; default: none",
    )
    serve.add_argument(
        "--bandwidth",
        type=amount("number of bytes per second", is_zero_allowed=False),
        metavar="BYTES_PER_S",
        help="bytes that reach a client in a second; default: no limit",
    )
    serve.add_argument(
        "--start",
        type=_moment,
        metavar="TIME",
        help="when the market's clock starts, ISO 8601 and UTC unless it says more; default: now",
    )
    serve.add_argument(
        "--speed",
        type=amount("speed"),
        default=1.0,
        metavar="X",
        help="seconds of the market in a second, 0 to stand still; default: %(default)s",
    )
    serve.add_argument(
        "--accounts",
        action="store_true",
        help="with accounts to practise signing in, and the cookies and a token of one of them",
    )
    serve.add_argument(
        "--no-empty-error",
        action="store_true",
        help='with --accounts: replies to a successful sign-in have no "error": ""',
    )
    serve.add_argument(
        "--max-sessions",
        type=_limit,
        default=200,
        metavar="N",
        help="sessions that one connection may open in all, or none; default: %(default)s",
    )
    serve.add_argument(
        "--max-connections",
        type=_limit,
        metavar="N",
        help="connections that one account may have open, or none; default: no limit",
    )
    serve.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="NAME:OPTION=VALUE,...",
        help="let something go wrong; may be given more than once",
    )
    serve.add_argument(
        "--replay",
        metavar="FILE",
        help='answer from a recording of "tvdatafeed record", not from the made-up market',
    )
    serve.add_argument(
        "--replay-speed",
        type=amount("speed", is_zero_allowed=False),
        metavar="X",
        help="recorded seconds in a second; default: as recorded, without pauses over 0.1 seconds",
    )
    serve.add_argument(
        "--list-faults", action="store_true", help="say what can go wrong (also: --fault list)"
    )


def _serve(arguments: argparse.Namespace) -> int:
    from tvDatafeed.testing import FakeTradingView, MarketClock  # noqa: PLC0415

    if arguments.list_faults or "list" in arguments.fault:
        _print_faults()
        return EXIT_OK
    server = FakeTradingView(
        host=arguments.host,
        port=arguments.port,
        clock=MarketClock(arguments.start, speed=arguments.speed),
        tick_interval_s=_TICK_INTERVAL_S,
        heartbeat_interval_s=arguments.heartbeat,
        round_trip_s=arguments.round_trip,
        bandwidth_bytes_per_s=arguments.bandwidth,
        max_sessions_per_connection=arguments.max_sessions,
        max_connections_per_account=arguments.max_connections,
        accounts=_accounts() if arguments.accounts else (),
        faults=[_fault(text) for text in arguments.fault],
    )
    if arguments.replay is not None:
        _replay(server, arguments)
    server.empty_error = not arguments.no_empty_error
    # A script's background job ignores SIGINT, and SIGTERM stops a container.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        with server:
            _show_how_to_connect(server, arguments)
            while True:
                time.sleep(_LONGEST_SLEEP_S)
    except KeyboardInterrupt:
        return EXIT_OK
    except OSError as error:
        raise CommandError(
            f"cannot listen on {arguments.host} port {arguments.port}: {error.strerror or error}"
        ) from error


def _show_how_to_connect(server: "FakeTradingView", arguments: argparse.Namespace) -> None:
    from tvDatafeed.testing import LISTINGS  # noqa: PLC0415

    form = '$env:{}="{}"' if sys.platform == "win32" else "export {}={}"
    variables = {
        "TV_WS_URL": server.ws_url,
        "TV_BASE_URL": server.base_url,
        "TV_SEARCH_URL": server.search_url,
    }
    if server.config().network.allow_insecure:
        variables["TV_ALLOW_INSECURE"] = "true"
    if arguments.accounts:
        variables |= _credentials(server)
    show("\n".join(form.format(*item) for item in variables.items()))
    if arguments.accounts:
        note(_PRACTICE)
    if arguments.replay is not None:
        note(_REPLAYED.format(arguments.replay))
        return
    # Single months of futures would fill the screen; "tvdatafeed search" lists them.
    symbols = (x.symbol for x in LISTINGS if len(x.expirations) != 1)
    note("a made-up market, until Ctrl-C: " + " ".join(symbols))


def _replay(server: "FakeTradingView", arguments: argparse.Namespace) -> None:
    try:
        server.replay(arguments.replay, speed=arguments.replay_speed)
    except OSError as error:
        reason = error.strerror or error
        raise CommandError(f"cannot read {arguments.replay}: {reason}", EXIT_USAGE) from error
    except ValueError as error:
        raise CommandError(str(error), EXIT_USAGE) from error


def _accounts() -> "list[Account]":
    from tvDatafeed.testing import Account  # noqa: PLC0415

    return [
        Account("alice", _PASSWORD),
        Account("bob", _PASSWORD, second_factor="totp"),
        Account("carol", _PASSWORD, second_factor="sms"),
        Account("dave", _PASSWORD, captcha=True),
    ]


def _credentials(server: "FakeTradingView") -> dict[str, str]:
    """Return the cookies and the token of a browser in which alice is signed in."""
    cookies = server.issue_cookies("alice")
    return {
        "TV_SESSIONID": cookies.sessionid,
        "TV_SESSIONID_SIGN": cookies.sessionid_sign,
        "TV_AUTH_TOKEN": server.issue_token("alice"),
    }


def _print_faults() -> None:
    from tvDatafeed.testing import FAULTS  # noqa: PLC0415

    width = max(map(len, FAULTS))
    for name, kind in sorted(FAULTS.items()):
        sentence = (kind.__doc__ or "").partition("\n")[0].replace("``", "")
        options = [o.name for o in dataclasses.fields(kind) if o.name not in _COMMON_FAULT_OPTIONS]
        named = f" Options: {', '.join(options)}." if options else ""
        show(f"{name:{width}}  {sentence}{named}")


def _fault(text: str) -> "Fault":
    from tvDatafeed.testing import parse_fault  # noqa: PLC0415

    try:
        return parse_fault(text)
    except ValueError as error:
        raise CommandError(f"--fault {text}: {error}", EXIT_USAGE) from error


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) >= 1 << 16:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port between 0 and 65535")
    return int(text)


def _limit(text: str) -> int | None:
    if text == "none":
        return None
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0, or none")
    return int(text)


def _moment(text: str) -> float:
    from datetime import datetime, timezone  # noqa: PLC0415 - no help needs it

    try:
        # Python 3.10 does not know the Z.
        moment = datetime.fromisoformat(f"{text[:-1]}+00:00" if text[-1:] in "zZ" else text)
    except ValueError:
        moment = datetime.min  # noqa: DTZ901 - neither is what follows
    if not _FIRST_YEAR <= moment.year < _LAST_YEAR:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a moment since {_FIRST_YEAR} in ISO 8601, such as 2026-08-20T13:30Z"
        )
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()

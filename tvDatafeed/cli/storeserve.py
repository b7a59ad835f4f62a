"""The command that serves a bar store over HTTP: ``tvdatafeed store serve``."""

import argparse
import dataclasses
import signal
import socket
from typing import TYPE_CHECKING, TypeVar

from tvDatafeed.cli.account import account_config, make_client
from tvDatafeed.cli.console import EXIT_OK, EXIT_USAGE, CommandError, note, show
from tvDatafeed.cli.records import add_log_options
from tvDatafeed.config import StoreConfig, TvDatafeedConfig
from tvDatafeed.main import TvDatafeed

if TYPE_CHECKING:
    from tvDatafeed.store.barstore import BarStore

__all__ = ["add_parser", "run"]

_Parser = TypeVar("_Parser", bound=argparse.ArgumentParser)

_EXAMPLES = """\
examples:
  tvdatafeed store serve                           http://127.0.0.1:8800, for this machine alone
  tvdatafeed store serve --port 9000 --url postgresql://bars@db.example/bars
  TV_STORE_TOKEN=... tvdatafeed store serve --host 0.0.0.0

The page is at /, the API at /docs, figures for Prometheus at /metrics. POST /api/cache/warm and
/api/cache/clear need the token TV_STORE_TOKEN ("Authorization: Bearer ..."); with a --host that
others can reach, every answer with data does. Traffic is not encrypted: put a proxy with TLS before
it. Warming asks TradingView with the settings and the login of the environment.
"""


def add_parser(subparsers: "argparse._SubParsersAction[_Parser]") -> _Parser:
    """Add ``serve`` to the commands of ``tvdatafeed store``.

    Parameters
    ----------
    subparsers
        The commands of ``store``.
    """
    serve = subparsers.add_parser(
        "serve",
        help="serve a store over HTTP: a page, JSON, Prometheus",
        description="Serve a store over HTTP: a page, JSON, and figures for Prometheus.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    serve.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    serve.add_argument(
        "--port", type=_port, default=8800, metavar="N", help="default: %(default)s; 0: a free one"
    )
    serve.add_argument("--url", help="the store; default: TV_STORE_URL, else the default file")
    add_log_options(serve)
    serve.set_defaults(command=run)
    return serve


def run(arguments: argparse.Namespace) -> int:
    """Serve a store until Ctrl-C or SIGTERM.

    Raises
    ------
    CommandError
        The extra is not installed, or the port cannot be used.
    ConfigurationError
        The host is not this machine and there is no token, or a setting cannot be used.
    """
    from tvDatafeed.store.access import Access  # noqa: PLC0415 - help needs to be quick

    settings = StoreConfig.from_env()
    host: str = arguments.host
    Access(host, settings.token)  # before anything is opened
    try:
        from tvDatafeed.store.web import serve  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise CommandError(
            f"{error.name} is not installed: pip install 'tvdatafeed[server]'", EXIT_USAGE
        ) from error
    # A script's background job ignores SIGINT, and a container is stopped by SIGTERM.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    config = dataclasses.replace(account_config(), store=settings)

    def client() -> TvDatafeed:
        return make_client(TvDatafeed, arguments, _without_store(config))

    try:
        with _listener(host, arguments.port) as listener, _store(arguments.url, config) as store:
            address, port = listener.getsockname()[:2]
            show(f"http://{f'[{address}]' if ':' in address else address}:{port}/")
            note(f"serving {store.url}, until Ctrl-C")
            serve(store, listener, client, host=host, token=settings.token)
    except KeyboardInterrupt:
        return EXIT_OK
    return EXIT_OK


def _store(url: str | None, config: TvDatafeedConfig) -> "BarStore":
    from tvDatafeed.store.barstore import BarStore  # noqa: PLC0415 - as above

    settings = config.store
    return BarStore(
        settings.url if url is None else url,
        max_bars=settings.max_bars,
        recheck_days=settings.recheck_days,
        timeout=settings.timeout,
    )


def _without_store(config: TvDatafeedConfig) -> TvDatafeedConfig:
    """Return the settings of the client that warms: its bars go to the store that is served."""
    return dataclasses.replace(config, store=StoreConfig())


def _listener(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CommandError(f"cannot listen on {host} port {port}: {reason}") from error


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) >= 1 << 16:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port between 0 and 65535")
    return int(text)

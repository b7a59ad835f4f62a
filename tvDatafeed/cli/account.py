"""The commands about accounts: log in, log out, and show the logged-in user.

A login is kept in the token cache, where ``hist`` finds it. Typed secrets are not shown, and
secrets are never arguments: other users of the machine can read those.
"""

import argparse
import dataclasses
import datetime as dt
import getpass
import json
import secrets
import sys
import time
from typing import TYPE_CHECKING, TypeVar

from tvDatafeed.cli.arguments import AddCommand
from tvDatafeed.cli.console import EXIT_FAILURE, EXIT_OK, EXIT_USAGE, CommandError, show
from tvDatafeed.config import AuthConfig, TvDatafeedConfig
from tvDatafeed.main import TvDatafeed
from tvDatafeed.protocol.literals import ANONYMOUS_TOKEN
from tvDatafeed.validators import Validators

if TYPE_CHECKING:
    from tvDatafeed.auth.authenticator import Identity
    from tvDatafeed.auth.cache import TokenCache
    from tvDatafeed.auth.signin import SignedIn, SignIn


__all__ = ["account_config", "add_account_commands", "describe_identity", "make_client"]

_Client = TypeVar("_Client", bound=TvDatafeed)

_LOGIN_EXAMPLES = """\
examples:
  tvdatafeed login                                 asks for user name, password and code
  tvdatafeed login --cookies                       with the cookies of a signed-in browser
  tvdatafeed login --username alice --keyring      the system's keyring keeps the password

What the environment gives (TV_USERNAME, TV_PASSWORD, TV_TOTP_SECRET, TV_SESSIONID and others) is
not asked for. Without a terminal the answers are read from stdin, one a line. The token is kept in
a file that only you can read; TV_TOKEN_CACHE names another one.
"""
_LOGOUT_EXAMPLES = """\
examples:
  tvdatafeed logout                                forgets all logins of this machine's user
  tvdatafeed logout --username alice --keyring     and the password in the system's keyring

TradingView is not asked: to end the session there, sign out of all devices in a browser.
"""
_WHOAMI_EXAMPLES = """\
examples:
  tvdatafeed whoami
  tvdatafeed whoami --json | jq -r .expires_at

The environment's credentials go first, then the login that is kept. The exit code is 1 when there
is neither.
"""
_PLACES = {
    "token": "TV_AUTH_TOKEN",
    "cookies": "the cookies of the environment",
    "cache": "the token cache",
    "password": "the password of the environment",
}


class _NoAnswerError(CommandError):
    """There is no terminal and no further line of stdin to read an answer from."""


def add_account_commands(command: AddCommand) -> None:
    """Add ``login``, ``logout`` and ``whoami`` to the parser.

    Parameters
    ----------
    command : callable
        Adds one, from its name, what runs it, a summary and examples.
    """
    login = command("login", _login, "log in to TradingView, and keep the login", _LOGIN_EXAMPLES)
    login.add_argument("--username", metavar="USER", help="default: TV_USERNAME, else it is asked")
    login.add_argument(
        "--keyring",
        action="store_true",
        help="take the password from the system's keyring, and keep it there",
    )
    login.add_argument(
        "--cookies",
        action="store_true",
        help="ask for the cookies sessionid and sessionid_sign instead of a password",
    )
    logout = command("logout", _logout, "forget the logins that are kept", _LOGOUT_EXAMPLES)
    logout.add_argument("--username", metavar="USER", help="default: those of all users")
    logout.add_argument(
        "--keyring", action="store_true", help="forget USER's password in the system's keyring too"
    )
    whoami = command("whoami", _whoami, "say who is logged in, and until when", _WHOAMI_EXAMPLES)
    whoami.add_argument("--json", action="store_true", help="as one JSON object")


def account_config() -> TvDatafeedConfig:
    """Return the settings of the environment, with its credentials and the token cache.

    Raises
    ------
    ConfigurationError
        If a variable has an invalid value.
    """
    from tvDatafeed.auth.cache import (  # noqa: PLC0415 - help needs to be quick
        default_cache_path_if_any,
    )

    config = TvDatafeedConfig.from_env(credentials=True)
    if config.auth.token_cache is not None:
        return config
    # A cache whose file is set is also used without a password.
    path = default_cache_path_if_any()
    auth = dataclasses.replace(config.auth, token_cache=False if path is None else str(path))
    return dataclasses.replace(config, auth=auth)


def make_client(
    kind: type[_Client], arguments: argparse.Namespace, config: TvDatafeedConfig
) -> _Client:
    """Return a client with the account of the settings, or an anonymous one without a warning."""
    token = None if _has_account(config) else ANONYMOUS_TOKEN
    client = kind(auth_token=token, config=config)
    client.ws_debug = client.ws_debug or arguments.debug
    return client


def _has_account(config: TvDatafeedConfig) -> bool:
    """Return whether any credentials are available; nothing is sent."""
    auth = config.auth
    if auth.auth_token or auth.sessionid or auth.username or auth.password:
        return True
    # The default cache is only for passwords; see account_config.
    cache = _cache_of(config) if auth.token_cache else None
    return cache is not None and cache.latest(_endpoint_of(config)) is not None


def _login(arguments: argparse.Namespace) -> int:
    from tvDatafeed.auth.cache import CachedLogin  # noqa: PLC0415 - as above
    from tvDatafeed.auth.token import expiry_of  # noqa: PLC0415 - as above

    if arguments.cookies and (arguments.username or arguments.keyring):
        raise CommandError("--cookies takes neither --username nor --keyring", EXIT_USAGE)
    config = account_config()
    cache = _cache_of(config)
    if cache is None:
        raise CommandError(
            "TV_TOKEN_CACHE is off, or no home folder is known: there is no place to keep a login",
            EXIT_USAGE,
        )
    if arguments.cookies:
        signed_in = _by_cookies(config)
        # Bound to a random password: the login is found only as the newest one.
        username, password = signed_in.username or "", secrets.token_hex()
    else:
        username, password, signed_in = _by_password(config, arguments)
    login = CachedLogin(
        username, signed_in.token, signed_in.sessionid, signed_in.sessionid_sign, signed_in.plan
    )
    cache.store(login, _endpoint_of(config), password)
    if cache.latest(_endpoint_of(config)) != login:
        raise CommandError(f"logged in, but the login could not be kept in {cache.path}")
    who = signed_in.username or username or None
    show(f"{_described(who, signed_in.plan, expiry_of(signed_in.token))}, kept in {cache.path}")
    return EXIT_OK


def _by_cookies(config: TvDatafeedConfig) -> "SignedIn":
    auth = config.auth
    if auth.sessionid is None:
        sessionid, signature = _asked("sessionid").strip(), _asked("sessionid_sign").strip()
        auth = dataclasses.replace(auth, sessionid=sessionid, sessionid_sign=signature or None)
    if not auth.sessionid:
        raise CommandError("the cookie sessionid is empty", EXIT_USAGE)
    return _site(config, auth).with_cookies(auth.sessionid, auth.sessionid_sign or "")


def _by_password(
    config: TvDatafeedConfig, arguments: argparse.Namespace
) -> "tuple[str, str, SignedIn]":
    from tvDatafeed.auth.keyring import keyring_password, set_keyring_password  # noqa: PLC0415
    from tvDatafeed.auth.signin import Credentials  # noqa: PLC0415 - as above

    known = config.auth
    username = arguments.username or known.username or _asked("user name", is_secret=False).strip()
    if known.username not in {None, username}:
        # The environment's password and second factor belong to another user.
        known = AuthConfig()
    password = known.password
    if password is None and arguments.keyring:
        password = keyring_password(username)
    if password is None:
        password = _asked("password")
    Validators.validate_credentials(username, password)
    code = known.two_factor_code
    if code is None and known.totp_secret is None:
        code = _code
    credentials = Credentials(username, password, known.totp_secret, code)
    signed_in = _site(config, config.auth).with_password(credentials)
    if arguments.keyring:
        set_keyring_password(username, password)
    return username, password, signed_in


def _logout(arguments: argparse.Namespace) -> int:
    from tvDatafeed.auth.keyring import set_keyring_password  # noqa: PLC0415 - as above

    if arguments.keyring and not arguments.username:
        raise CommandError("--keyring needs --username", EXIT_USAGE)
    config = account_config()
    cache, endpoint = _cache_of(config), _endpoint_of(config)
    had_one = cache is not None and cache.forget(arguments.username, endpoint)
    if had_one and cache is not None and cache.forget(arguments.username, endpoint):
        raise CommandError(f"the login could not be removed from {cache.path}")
    if arguments.keyring:
        set_keyring_password(arguments.username, None)
    show("logged out" if had_one else "no login was kept")
    return EXIT_OK


def _whoami(arguments: argparse.Namespace) -> int:
    from tvDatafeed.auth.authenticator import Authenticator  # noqa: PLC0415 - as above

    config = account_config()
    who = Authenticator(config).identity()
    is_anonymous = who.source == "anonymous"
    if arguments.json:
        end = None if who.expires_at is None else _local(who.expires_at)
        show(json.dumps(dataclasses.asdict(who) | {"expires_at": end}))
    elif is_anonymous:
        show("anonymous: no user is logged in")
    else:
        show(describe_identity(who))
    return EXIT_FAILURE if is_anonymous else EXIT_OK


def describe_identity(who: "Identity") -> str:
    """Return the user, the plan, the token's expiry and its source, in one line."""
    return f"{_described(who.username, who.plan, who.expires_at)}, from {_PLACES[who.source]}"


def _described(username: str | None, plan: str, expires_at: float | None) -> str:
    end = ""
    if expires_at is not None:
        verb = "expires" if expires_at > time.time() else "expired"
        end = f", token {verb} {_local(expires_at)}"
    return f"{username or 'a user without a name'}, plan {plan or 'free'}{end}"


def _local(epoch_s: float) -> str:
    try:
        moment = dt.datetime.fromtimestamp(epoch_s, dt.timezone.utc).astimezone()
    except (ValueError, OverflowError, OSError):  # beyond the calendar
        return f"{epoch_s:g} s after 1970"
    return moment.isoformat(sep=" ", timespec="seconds")


def _code() -> str:
    try:
        return _asked("code of the second factor")
    except _NoAnswerError:
        return ""  # the following error names the missing code


def _asked(what: str, *, is_secret: bool = True) -> str:
    """Return the user's answer; without a terminal, the next line of stdin."""
    try:
        if sys.stdin.isatty() and is_secret:
            return getpass.getpass(f"{what}: ")
        if sys.stdin.isatty():
            sys.stderr.write(f"{what}: ")
            sys.stderr.flush()
        line = sys.stdin.readline()
    except UnicodeDecodeError:  # the original error would show the line
        raise CommandError(f"the {what} is not valid text in {sys.stdin.encoding}") from None
    except EOFError:
        line = ""
    if not line:
        raise _NoAnswerError(f"the {what} is missing: stdin has ended", EXIT_USAGE)
    return line.removeprefix("\ufeff").rstrip("\r\n")


def _site(config: TvDatafeedConfig, auth: AuthConfig) -> "SignIn":
    from tvDatafeed.auth.signin import SignIn  # noqa: PLC0415
    from tvDatafeed.network.http import HttpClient  # noqa: PLC0415 - as above

    return SignIn(HttpClient(config.network), config.network, auth)


def _cache_of(config: TvDatafeedConfig) -> "TokenCache | None":
    from tvDatafeed.auth.cache import TokenCache  # noqa: PLC0415 - as above

    place = config.auth.token_cache
    return None if place is False else TokenCache(place)


def _endpoint_of(config: TvDatafeedConfig) -> str:
    return config.network.base_url.rstrip("/")

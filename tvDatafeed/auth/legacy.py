"""Signing in: `Authenticator`, which `TvDatafeed` uses, and the class that old programs use."""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tvDatafeed.auth.signin import Credentials, SignedIn, SignIn
from tvDatafeed.config import DEFAULT_CONFIG, AuthConfig, TvDatafeedConfig
from tvDatafeed.exceptions import AuthenticationError, NetworkError

if TYPE_CHECKING:
    import requests

__all__ = ["TradingViewAuth"]


class TradingViewAuth:
    """The sign-in of old programs, for one call at a time.

    Parameters
    ----------
    user_agent : str, optional
        The User-Agent header of the requests. Default: ``TWAPI/3.0`` and the system's name.

    Attributes
    ----------
    session : requests.Session
        The session that sends the requests.
    user_agent : str
        As passed.
    """

    def __init__(self, user_agent: str | None = None) -> None:
        from tvDatafeed.network.http import HttpClient  # noqa: PLC0415 - requests takes its time

        system = f"{platform.release()}; {platform.system()}; {platform.machine()}"
        self.user_agent: str = user_agent or f"TWAPI/3.0 ({system})"
        config = TvDatafeedConfig.from_env()
        client = HttpClient(config.network, user_agent=self.user_agent)
        self.session: requests.Session = client.session
        self._sign_in = SignIn(client, config.network, AuthConfig())

    @staticmethod
    def gen_auth_cookies(session_id: str = "", signature: str = "") -> str:
        """Return the Cookie header of a session.

        Parameters
        ----------
        session_id, signature : str, default ""
            The cookies sessionid and sessionid_sign.

        Returns
        -------
        str
            Empty without a session id.

        Examples
        --------
        >>> TradingViewAuth.gen_auth_cookies("1", "2")
        'sessionid=1;sessionid_sign=2'
        """
        if not session_id:
            return ""
        cookie = f"sessionid={session_id}"
        return f"{cookie};sessionid_sign={signature}" if signature else cookie

    def login_user(
        self,
        username: str,
        password: str,
        totp_secret: str | None = None,
        remember: bool = True,
    ) -> dict[str, Any]:
        """Sign in with username and password.

        Parameters
        ----------
        username, password : str
            The account.
        totp_secret : str, optional
            The secret of the authenticator app, where there is a second factor.
        remember : bool, default True
            Whether the cookies stay valid for weeks.

        Returns
        -------
        dict
            As from `get_user`, with the cookies ``session`` and ``signature``.

        Raises
        ------
        AuthenticationError
            For any failure.
        """
        credentials = Credentials(username, password, totp_secret)
        signed_in = _authenticated(
            lambda: self._sign_in.with_password(credentials, remember=remember)
        )
        cookies = {"session": signed_in.sessionid, "signature": signed_in.sessionid_sign}
        return _old_names(signed_in) | cookies

    def get_user(
        self,
        session_id: str,
        signature: str = "",
        location: str = "https://www.tradingview.com/",
    ) -> dict[str, Any]:
        """Read the account from a page that its cookies open.

        Parameters
        ----------
        session_id, signature : str
            The cookies sessionid and sessionid_sign.
        location : str, default "https://www.tradingview.com/"
            The page; the default follows ``TV_BASE_URL``.

        Returns
        -------
        dict
            Keys id, username, firstName, lastName, reputation, following, followers,
            sessionHash, privateChannel, authToken, joinDate.

        Raises
        ------
        AuthenticationError
            For any failure.
        """
        page = None if location == f"{DEFAULT_CONFIG.network.base_url}/" else location
        return _old_names(
            _authenticated(lambda: self._sign_in.with_cookies(session_id, signature, location=page))
        )


def _authenticated(sign_in: Callable[[], SignedIn]) -> SignedIn:
    """Sign in; raise any failure as AuthenticationError, as old programs expect."""
    try:
        return sign_in()
    except NetworkError as error:
        raise AuthenticationError(str(error)) from error


def _old_names(signed_in: SignedIn) -> dict[str, Any]:
    user = signed_in.user
    names = {
        "id": "id",
        "username": "username",
        "firstName": "first_name",
        "lastName": "last_name",
        "reputation": "reputation",
        "following": "following",
        "followers": "followers",
        "sessionHash": "session_hash",
        "privateChannel": "private_channel",
        "joinDate": "date_joined",
    }
    return {old: user.get(new) for old, new in names.items()} | {"authToken": signed_in.token}

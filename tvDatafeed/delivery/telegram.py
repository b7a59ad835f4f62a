"""Messages to one chat, sent by a Telegram bot.

The bot's token stands in the path of the URL: a log or an error that shows the URL shows the token.
Errors of this module carry the host alone, and `network.posting` logs nothing.
Source of the wire: https://core.telegram.org/bots/api#making-requests
"""

import contextlib
import sys
import time
from typing import Any

import msgspec

from tvDatafeed.common.redaction import redact
from tvDatafeed.common.settings import BOT_TOKEN, CHAT_ID, HTTP_URL, check_encrypted, checked
from tvDatafeed.config import NetworkConfig
from tvDatafeed.exceptions import ConfigurationError, DeliveryError, RateLimitError
from tvDatafeed.network.posting import Poster
from tvDatafeed.network.replies import HttpReply

__all__ = ["TelegramSender"]

# Telegram refuses longer texts. It counts as UTF-16 does: most emoji are two.
MAX_TEXT_UNITS = 4096

_DEADLINE_S = 30.0
_ELLIPSIS = "..."
_TOO_MANY_REQUESTS = 429
_FIRST_SERVER_ERROR = 500
# A longer pause is a mistake or a lock-out.
_MAX_RETRY_AFTER_S = 3600.0
_MAX_REASON_LENGTH = 200
_ADVICE = {
    400: "is TV_TELEGRAM_CHAT_ID right, and has the chat begun with a message to the bot?",
    401: "is TV_TELEGRAM_TOKEN right?",
    403: "is the bot a member of the chat, and not blocked there?",
    404: "are TV_TELEGRAM_TOKEN and TV_TELEGRAM_URL right?",
}


class TelegramSender:
    """Sends texts to a chat; any number of threads may use it.

    Parameters
    ----------
    token : str
        The bot's token: digits, a colon, and letters.
    chat_id : str or int
        The number of the chat, or the ``@name`` of a channel.
    base_url : str, default "https://api.telegram.org"
        The server of the bot API.
    network : NetworkConfig, optional
        Proxy, certificates and limits. Default: those of the environment.

    Raises
    ------
    ConfigurationError
        A parameter cannot be used.

    Examples
    --------
    >>> TelegramSender("123456:ABC-def", 42)
    <TelegramSender api.telegram.org>
    """

    def __init__(
        self,
        token: str | None,
        chat_id: str | int | None,
        *,
        base_url: str = "https://api.telegram.org",
        network: NetworkConfig | None = None,
    ) -> None:
        for name, value in (("token", token), ("chat_id", chat_id)):
            if value is None:
                raise ConfigurationError(name, value, f"must be set: TV_TELEGRAM_{name.upper()}")
        self._token: str = checked(BOT_TOKEN.check, token, "token")
        self._chat_id: str = checked(CHAT_ID.check, chat_id, "chat_id")
        self._base_url: str = checked(HTTP_URL.check, base_url, "base_url").rstrip("/")
        check_encrypted(self._base_url, "base_url")
        self._host = self._base_url.partition("://")[2].partition("/")[0]
        self._network = NetworkConfig.from_env() if network is None else network

    def __repr__(self) -> str:
        return f"<TelegramSender {self._host}>"

    def __call__(self, text: str) -> None:
        """Send a text as it is, without any markup; a long one is cut.

        Parameters
        ----------
        text : str
            The text.

        Raises
        ------
        RateLimitError
            Telegram asks for a pause of ``retry_after`` seconds.
        NetworkError
            Telegram cannot be reached.
        DeliveryError
            Telegram refuses the message, the chat or the token.
        """
        secret = self._token.partition(":")[2]
        body = msgspec.json.encode(
            {
                "chat_id": self._chat_id,
                "text": shortened(redact(text, [self._token, secret])),
                "link_preview_options": {"is_disabled": True},
            }
        )
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"tvDatafeed/{sys.modules['tvDatafeed'].__version__}",
            "Connection": "close",
        }
        url = f"{self._base_url}/bot{self._token}/sendMessage"
        # Alerts are rare, and threads may send them side by side: each has its own connection.
        poster = Poster(url, self._network, settings="TV_TELEGRAM_URL")
        with contextlib.closing(poster):
            reply = poster.post(body, headers, deadline=time.monotonic() + _DEADLINE_S)
        answer = _answer(reply)
        if answer.get("ok") is not True:
            raise self._refusal(reply, answer)

    def _refusal(self, reply: HttpReply, answer: dict[str, Any]) -> Exception:
        """Return the error of an answer that is not a success."""
        if reply.status == _TOO_MANY_REQUESTS:
            parameters = answer.get("parameters")
            value = parameters.get("retry_after") if isinstance(parameters, dict) else None
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                value = reply.retry_after or 1.0
            return RateLimitError(retry_after=min(float(value), _MAX_RETRY_AFTER_S))
        description = answer.get("description")
        reason = "no answer of a bot API"
        if isinstance(description, str) and description:
            secrets = [self._token, self._token.partition(":")[2], self._chat_id]
            reason = redact(description, secrets)[:_MAX_REASON_LENGTH]
        advice = _ADVICE.get(reply.status)
        hint = f"; {advice}" if advice else ""
        return DeliveryError(
            f"{self._host} refuses the message: HTTP {reply.status}, {reason}{hint}",
            retryable=reply.status >= _FIRST_SERVER_ERROR,
        )


def _answer(reply: HttpReply) -> dict[str, Any]:
    try:
        answer = reply.json()
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def shortened(text: str) -> str:
    """Return a text that Telegram accepts: of Unicode, and at most 4096 units long."""
    encoded = text.encode("utf-16-le", "replace")
    if len(encoded) > 2 * MAX_TEXT_UNITS:
        kept = encoded[: 2 * (MAX_TEXT_UNITS - len(_ELLIPSIS))]
        return kept.decode("utf-16-le", "ignore") + _ELLIPSIS
    return encoded.decode("utf-16-le")

"""The command that receives signed messages, to try a sender with."""

import argparse
import json
import random
import threading
import time
from typing import TYPE_CHECKING, Any

from tvDatafeed.cli.arguments import AddCommand, amount
from tvDatafeed.cli.console import EXIT_OK, note, show
from tvDatafeed.cli.destinations import signing_secret
from tvDatafeed.cli.signals import both_interrupt
from tvDatafeed.cli.table import printable
from tvDatafeed.config import DeliveryConfig
from tvDatafeed.exceptions import VerificationError

if TYPE_CHECKING:
    from email.message import Message

    from tvDatafeed.delivery import VerifiedMessage

__all__ = ["add_receive_command"]

_EXAMPLES = """\
examples:
  export TV_WEBHOOK_SECRET=$(tvdatafeed deliver secret)
  tvdatafeed deliver receive --port 9000
  tvdatafeed deliver receive --port 9000 --fail 0.3 --slow 0.5
  tvdatafeed deliver receive --port 9000 --json | jq .body.data

In another terminal, with the same secret:
  tvdatafeed deliver run BINANCE:BTCUSDT --url http://127.0.0.1:9000/

Each verified message goes to stdout once; the rest is on stderr: what comes
again, and what is refused and why. A wrong signature is answered with 401, a
message larger than TV_WEBHOOK_MAX_BODY_BYTES with 413. Nothing is encrypted.
"""
_FIRST_STATUS, _LAST_STATUS = 300, 599
# The ids of earlier messages; a sender retries for three days.
_REMEMBERED = 100_000
_SHOWN_CHARACTERS = 200
_NUMBERS = ("open", "high", "low", "close", "volume")
_POLL_S = 0.1


def add_receive_command(part: AddCommand) -> None:
    """Add ``receive`` to the commands of ``deliver``.

    Parameters
    ----------
    part : callable
        Adds one, from its name, what runs it, a summary and examples.
    """
    receive = part("receive", _receive, "receive signed messages, and show them", _EXAMPLES)
    receive.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    receive.add_argument(
        "--port", type=_port, default=9000, metavar="N", help="default: %(default)s; 0: a free one"
    )
    receive.add_argument(
        "--scheme",
        choices=("standard", "canonical"),
        default="standard",
        help="how messages are signed; default: %(default)s",
    )
    receive.add_argument(
        "--fail",
        type=_share,
        default=0.0,
        metavar="SHARE",
        help="answer a random share of the messages, 0 to 1, with --status",
    )
    receive.add_argument(
        "--status",
        type=_status,
        default=500,
        metavar="N",
        help="what --fail answers; default: %(default)s",
    )
    receive.add_argument(
        "--slow",
        type=amount("number of seconds"),
        default=0.0,
        metavar="SECONDS",
        help="wait before each answer; default: do not",
    )
    receive.add_argument("--json", action="store_true", help="write one JSON object a message")


def _receive(arguments: argparse.Namespace) -> int:
    from tvDatafeed.cli.receiver import MessageServer, listen  # noqa: PLC0415 - help is to be quick

    config = DeliveryConfig.from_env()
    receiver = _Receiver(arguments, config)
    with both_interrupt():
        try:
            listener = listen(arguments.host, arguments.port)
            with MessageServer(listener, receiver.handle, config.max_body_bytes) as server:
                receiver.is_ending = server.is_ending
                note(f"receiving at {server.url}, until Ctrl-C")
                server.serve_forever(_POLL_S)
        except KeyboardInterrupt:
            note(receiver.summary())
    return EXIT_OK


class _Receiver:
    """Verifies messages, shows each once, and answers as its options require."""

    def __init__(self, arguments: argparse.Namespace, config: DeliveryConfig) -> None:
        from tvDatafeed.delivery import CanonicalRequest  # noqa: PLC0415 - as above
        from tvDatafeed.delivery.signing import secret_keys  # noqa: PLC0415 - as above

        secret = signing_secret(config)
        secret_keys(secret)  # before any message can be verified
        self._secret = secret
        self._canonical: CanonicalRequest | None = None
        if arguments.scheme == "canonical":
            self._canonical = CanonicalRequest(config.producer_id or "", secret)
        self._options = arguments
        self._lock = threading.Lock()
        self._seen: dict[str, None] = {}
        self._counts = {"new": 0, "again": 0, "failed": 0, "refused": 0}
        self.is_ending = threading.Event()

    def handle(self, path: str, headers: "Message", body: bytes) -> tuple[int, str]:
        """Return the status and the text of the answer to a message."""
        try:
            message = self._verified(path, headers, body)
        except VerificationError as error:
            with self._lock:
                self._counts["refused"] += 1
            note(f"refused: {printable(error)}")
            return 401, str(error)
        fails = random.random() < self._options.fail
        with self._lock:
            kind = "failed" if fails else "again" if message.id in self._seen else "new"
            self._counts[kind] += 1
            if kind == "new":
                self._seen[message.id] = None
                if len(self._seen) > _REMEMBERED:
                    del self._seen[next(iter(self._seen))]
        if kind == "new":
            show(_json_line(message) if self._options.json else _text_line(message))
        elif kind == "again":
            note(f"again: {message.id}")
        else:
            note(f"answered {self._options.status}, as --fail asks: {message.id}")
        self.is_ending.wait(self._options.slow)
        return (self._options.status, "as --fail asks") if fails else (200, "received")

    def _verified(self, path: str, headers: "Message", body: bytes) -> "VerifiedMessage":
        from tvDatafeed.delivery import verify  # noqa: PLC0415 - as above

        pairs = headers.items()
        if self._canonical is not None:
            return self._canonical.verify("POST", path, pairs, body)
        return verify(pairs, body, self._secret)

    def summary(self) -> str:
        """Return a summary of the messages in one line."""
        counts = self._counts
        asked = f", {counts['failed']:,} failed on request" if counts["failed"] else ""
        return (
            f"{counts['new']:,} message{'' if counts['new'] == 1 else 's'} came, "
            f"{counts['again']:,} came again, {counts['refused']:,} refused{asked}"
        )


def _json_line(message: "VerifiedMessage") -> str:
    line = {"id": message.id, "timestamp": message.timestamp}
    text = message.body.decode("utf-8", "replace")
    try:
        return json.dumps({**line, "body": json.loads(text)}, allow_nan=False)
    except (ValueError, RecursionError):
        return json.dumps({**line, "body": text})


def _text_line(message: "VerifiedMessage") -> str:
    text = message.body.decode("utf-8", "replace")
    kind = ""
    try:
        content = json.loads(text)
        kind, text = str(content["type"]), _described(content["data"])
    except (ValueError, RecursionError, LookupError, TypeError):
        pass  # of another kind of sender
    if len(text) > _SHOWN_CHARACTERS:
        text = f"{text[:_SHOWN_CHARACTERS]}..."
    parts = [time.strftime("%H:%M:%S"), kind, text, message.id]
    return printable("  ".join(part for part in parts if part))


def _described(data: Any) -> str:
    """Return the data of a message; for bars the series and the numbers."""
    bars = data["bars"] if isinstance(data, dict) and "bars" in data else [data]
    if not bars or not all(isinstance(bar, dict) and "time_s" in bar for bar in bars):
        return json.dumps(data)
    last = bars[-1]
    series = f"{last['exchange']}:{last['symbol']} {last['interval']}"
    if len(bars) > 1:
        return f"{series}  {len(bars)} bars, {bars[0]['time']} to {last['time']}"
    numbers = " ".join(f"{name} {last[name]}" for name in _NUMBERS)
    again = f"  revision {last['revision']}" if last.get("revision") else ""
    return f"{series}  {last['time']}  {numbers}{again}"


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) >= 1 << 16:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port between 0 and 65535")
    return int(text)


def _status(text: str) -> int:
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 4 else 0  # noqa: PLR2004
    if not _FIRST_STATUS <= number <= _LAST_STATUS:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a status from {_FIRST_STATUS} to {_LAST_STATUS}"
        )
    return number


def _share(text: str) -> float:
    share = amount("share")(text)
    if share > 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share from 0 to 1")
    return share

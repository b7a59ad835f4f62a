"""A stand-in of Telegram's bot API on loopback."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.scale import PATIENCE_S
from tvDatafeed.config import NetworkConfig
from tvDatafeed.delivery import TelegramSender

TOKEN_SECRET = "AAcanary-Token_0123456789abcdefghijk"
TOKEN = f"7654321:{TOKEN_SECRET}"
CHAT_ID = "-1009876543210"


class FakeTelegram:
    """Answers as Telegram's bot API does, or as a test says.

    `answers` are used up in order, each a status, a body (a dict, or bytes) and headers; then each
    message is accepted. `hold` makes a request wait until it is set.
    """

    def __init__(self):
        self.answers = []
        self.messages = []
        self.paths = []
        self.received = threading.Semaphore(0)
        self.hold = None
        self.url = None

    def answer(self, status, body, headers=()):
        self.answers.append((status, body, dict(headers)))

    def refuse(self, status, description, **more):
        """Answer with an error as Telegram describes it."""
        body = {"ok": False, "error_code": status, "description": description, **more}
        self.answer(status, body)

    def wait(self, count=1):
        for _message in range(count):
            assert self.received.acquire(timeout=PATIENCE_S)

    @property
    def texts(self):
        return [message["text"] for message in self.messages]

    def sender(self, **options):
        return TelegramSender(TOKEN, CHAT_ID, base_url=self.url, network=NetworkConfig(), **options)


@contextmanager
def running():
    """Run the stand-in while the block runs."""
    telegram = FakeTelegram()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            text = self.rfile.read(int(self.headers["Content-Length"]))
            telegram.paths.append(self.path)
            telegram.messages.append(json.loads(text))
            telegram.received.release()
            if telegram.hold is not None:
                telegram.hold.wait(PATIENCE_S)
            status, body, headers = (
                telegram.answers.pop(0) if telegram.answers else (200, {"ok": True}, {})
            )
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            try:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
            except OSError:  # a client that is impatient
                pass

        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "11")
            self.end_headers()
            self.wfile.write(b'{"ok":true}')

        def log_message(self, *_arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    telegram.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield telegram
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

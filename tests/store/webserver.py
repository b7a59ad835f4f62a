"""The store's HTTP server on a port of this machine, and a client of it."""

import contextlib
import socket
import threading
from urllib.parse import urljoin

import requests

from tests.scale import PATIENCE_S
from tvDatafeed.store.web import make_server


class Client(requests.Session):
    """Asks one server, by paths."""

    def __init__(self, base_url):
        super().__init__()
        self.base_url = base_url
        self.trust_env = False

    def request(self, method, url, **options):
        return super().request(method, urljoin(self.base_url, url), timeout=PATIENCE_S, **options)


@contextlib.contextmanager
def serving(app):
    """Serve an application in a thread, and give a client of it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = make_server(app, listener)
        thread = threading.Thread(target=server.run, args=([listener],), name="serving")
        thread.start()
        try:
            with Client(f"http://127.0.0.1:{listener.getsockname()[1]}") as client:
                yield client
        finally:
            server.should_exit = True
            thread.join(PATIENCE_S)

"""A small HTTP server in threads of its own, for an application that answers at once."""

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterable
from socketserver import TCPServer
from typing import Any, TypeAlias
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from tvDatafeed.common.deadline import Deadline
from tvDatafeed.common.facts import facts

__all__ = ["App", "BackgroundServer"]

App: TypeAlias = Callable[..., Iterable[bytes]]

logger: logging.Logger = logging.getLogger(__name__)

# Requests at a time; beyond that the one that came first is cut off.
_MAX_REQUESTS = 8
# Seconds that a client may be silent.
_SILENCE_S = 10.0
# How soon the server notices that it was closed.
_LOOK_S = 0.1


class BackgroundServer:
    """Serves a WSGI application until it is closed.

    Parameters
    ----------
    app
        The application; called in one thread for each request.
    host
        The address to listen on.
    port
        The port; 0 for a free one.
    name
        The first word of the threads' names.

    Attributes
    ----------
    host : str
        The address that it listens on.
    port : int
        The port.

    Raises
    ------
    OSError
        It cannot listen there, such as when another program does.
    """

    def __init__(self, app: App, host: str, port: int, name: str) -> None:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        self._server = _Server(family, (host, port), name)
        self._server.set_app(app)
        self.host: str = str(self._server.server_address[0])
        self.port: int = int(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_LOOK_S,), name=name, daemon=True
        )
        try:
            self._thread.start()
        except BaseException:
            self._server.server_close()
            raise

    def close(self, timeout: float) -> bool:
        """Serve no more, and cut off the requests under way; False when a thread takes longer.

        Parameters
        ----------
        timeout
            Seconds in all.
        """
        deadline = Deadline(timeout)
        if self._thread.is_alive():
            self._server.shutdown()
        self._thread.join(deadline.remaining())
        self._server.server_close()
        return self._server.cut_off(deadline) and not self._thread.is_alive()


class _Server(WSGIServer):
    # On Windows another program could listen there too.
    allow_reuse_address = os.name == "posix"
    request_queue_size = 16

    def __init__(self, family: int, address: tuple[str, int], name: str) -> None:
        self.address_family = family
        self._name = name
        # Written in the server's thread; each request removes itself.
        self._requests: dict[threading.Thread, socket.socket] = {}
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Bind, without a question to the name server for the own name."""
        TCPServer.server_bind(self)
        host, port = self.server_address[:2]
        self.server_name, self.server_port = str(host), int(port)
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer a request in a thread of its own."""
        if len(self._requests) >= _MAX_REQUESTS:
            _cut_off(next(iter(list(self._requests.values())), None))
        thread = threading.Thread(
            target=self._answer,
            args=(request, client_address),
            name=f"{self._name}-request",
            daemon=True,
        )
        self._requests[thread] = request
        try:
            thread.start()
        except BaseException:
            self._requests.pop(thread)
            raise

    def _answer(self, request: socket.socket, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        except Exception as error:  # noqa: BLE001 - of one client, which has gone
            logger.debug("the request of %s failed: %r", client_address, error)
        finally:
            self.shutdown_request(request)
            self._requests.pop(threading.current_thread(), None)

    def handle_error(self, _request: Any, client_address: Any) -> None:
        """Log a request for which there was no thread."""
        extra = facts(host=client_address[0])
        logger.warning("no thread for the request of %s", client_address, extra=extra)

    def cut_off(self, deadline: Deadline) -> bool:
        """End the requests under way; False when that takes longer."""
        requests = list(self._requests.items())
        for _thread, request in requests:
            _cut_off(request)
        for thread, _request in requests:
            thread.join(deadline.remaining())
        return not any(thread.is_alive() for thread, _request in requests)


def _cut_off(request: socket.socket | None) -> None:
    if request is not None:
        try:
            request.shutdown(socket.SHUT_RDWR)
        except OSError:
            logger.debug("the connection was closed already")


class _Handler(WSGIRequestHandler):
    timeout = _SILENCE_S

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        """Log a request, where it can be looked for."""
        logger.debug(format, *args)

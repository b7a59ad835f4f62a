"""A host that never answers, like one behind a firewall that drops packets."""

import socket
from contextlib import ExitStack, suppress
from types import TracebackType

from tvDatafeed.config import NetworkConfig, TvDatafeedConfig

# Kernels round the backlog up; this is a few connections more than any of their minimums.
_FILLING_CONNECTIONS = 4


class BlackHole:
    """A port whose backlog of connections is full, so that another SYN gets no answer.

    Linux drops a SYN when the backlog is full, and the client waits until its own connect timeout.
    Other systems may refuse the connection instead.

    Attributes
    ----------
    ws_url : str
        A WebSocket URL that never answers.

    Examples
    --------
    >>> with BlackHole() as hole:
    ...     hole.ws_url.startswith("ws://127.0.0.1:")
    True
    """

    def __init__(self) -> None:
        with ExitStack() as opened:
            listener = opened.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
            address = listener.getsockname()
            for _ in range(_FILLING_CONNECTIONS):
                filler = opened.enter_context(socket.socket())
                filler.setblocking(False)
                with suppress(OSError):
                    filler.connect(address)
            self.ws_url: str = f"ws://127.0.0.1:{address[1]}/socket.io/websocket"
            self._sockets = opened.pop_all()

    def __enter__(self) -> "BlackHole":  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def config(self, **overrides: object) -> TvDatafeedConfig:
        """Return a configuration that points at this port.

        Parameters
        ----------
        **overrides
            Fields of `NetworkConfig`.
        """
        network = {**overrides, "ws_url": self.ws_url}
        return TvDatafeedConfig(network=NetworkConfig(**network))  # type: ignore[arg-type]

    def close(self) -> None:
        """Release the port."""
        self._sockets.close()

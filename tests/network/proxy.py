"""A proxy that works: whatever it is asked to connect to, it connects to one server."""

import contextlib
import socket
import threading

from tests.scale import PATIENCE_S


@contextlib.contextmanager
def tunnel_to(server):
    """Run a proxy all of whose tunnels lead to a server, and yield its port."""
    threads = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept():
            with contextlib.suppress(OSError):
                while True:
                    client = listener.accept()[0]
                    threads.append(threading.Thread(target=relay, args=(client, server.port)))
                    threads[-1].start()

        acceptor = threading.Thread(target=accept)
        acceptor.start()
        try:
            yield listener.getsockname()[1]
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            for thread in [acceptor, *threads]:
                thread.join(PATIENCE_S)


def relay(client, port):
    """Answer CONNECT, and pass on all bytes in both directions until both have ended."""
    with client, socket.create_connection(("127.0.0.1", port)) as upstream:
        client.recv(4096)
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        back = threading.Thread(target=pump, args=(upstream, client))
        back.start()
        pump(client, upstream)
        back.join(PATIENCE_S)


def pump(source, sink):
    """Pass bytes on until the source ends."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)

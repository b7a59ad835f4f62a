"""What a read allocates fits what arrives, so that the heap of many connections stays whole."""

import socket
import tracemalloc

import pytest

from tvDatafeed.network.sockets import DeadlineSocket

UPDATE = b"~m~98~m~" + b"u" * 98
# A block of this size for each update of each connection is what fragments the heap.
LARGE_BYTES = 64 * 1024


class CountingSocket(socket.socket):
    """Counts its reads."""

    reads = 0

    def recv(self, *arguments):
        """Read."""
        self.reads += 1
        return super().recv(*arguments)


@pytest.fixture
def ends():
    """A server's socket; a client's, and what a `DeadlineSocket` makes of that."""
    server, plain = socket.socketpair()
    with server, CountingSocket(fileno=plain.detach()) as counting:
        yield server, counting, DeadlineSocket(counting)


def peak_bytes(read):
    """Return the most that a call has allocated at a time."""
    tracemalloc.start()
    try:
        read()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def read_all(sock, size):
    """Read `size` bytes, as websocket-client does."""
    parts = []
    while size:
        parts.append(sock.recv(min(size, 16 * 1024)))
        size -= len(parts[-1])
    return b"".join(parts)


def test_small_messages_are_read_into_small_blocks(ends):
    """Updates of a live series allocate no more than a few kilobytes each."""
    server, _counting, client = ends

    def read():
        for _ in range(20):
            server.sendall(UPDATE)
            assert read_all(client, len(UPDATE)) == UPDATE

    assert peak_bytes(read) < LARGE_BYTES


def test_large_answers_are_read_in_few_parts(ends):
    """Once much comes, a read accepts all that has arrived."""
    server, counting, client = ends
    counting.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, LARGE_BYTES)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * LARGE_BYTES)
    answer = bytes(LARGE_BYTES)
    server.sendall(answer)
    assert read_all(client, len(answer)) == answer
    assert counting.reads <= 3


def test_reads_are_small_again_after_a_large_answer(ends):
    """A connection that has brought a history continues with updates."""
    server, _counting, client = ends
    server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * LARGE_BYTES)
    server.sendall(bytes(LARGE_BYTES))
    read_all(client, LARGE_BYTES)
    # The first one ends the answer: how much it is shows when it has come.
    server.sendall(UPDATE)
    read_all(client, len(UPDATE))

    def read():
        server.sendall(UPDATE)
        assert read_all(client, len(UPDATE)) == UPDATE

    assert peak_bytes(read) < LARGE_BYTES

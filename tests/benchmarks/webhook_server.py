"""A receiver of webhooks in a process of its own, which reads requests and answers 200.

``python -m tests.benchmarks.webhook_server`` prints its URL; for each line on its stdin it prints
how many requests came, and how many bytes of bodies.
"""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}"
_LENGTH = b"content-length:"


class CountingServer:
    """The receiver, as another process sees it."""

    def __init__(self, process: "subprocess.Popen[str]", url: str) -> None:
        self.url = url
        self._process = process

    def counts(self) -> tuple[int, int]:
        """Return how many requests came, and how many bytes of bodies."""
        if self._process.stdin is None or self._process.stdout is None:
            raise SystemExit("the receiver is gone")
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        requests, size_bytes = map(int, self._process.stdout.readline().split())
        return requests, size_bytes


@contextmanager
def counting_server() -> Iterator[CountingServer]:
    """Run the receiver in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.webhook_server"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            url = process.stdout.readline().strip() if process.stdout else ""
            if not url:
                raise SystemExit("the receiver did not start")
            yield CountingServer(process, url)
        finally:
            process.terminate()


class _Counts:
    requests = 0
    size_bytes = 0


class _Protocol(asyncio.Protocol):
    def __init__(self, counts: _Counts) -> None:
        self._counts = counts
        self._data = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._data[:end]).lower()
            length = int(head.partition(_LENGTH)[2].partition(b"\r\n")[0])
            if len(self._data) < end + 4 + length:
                return
            del self._data[: end + 4 + length]
            self._counts.requests += 1
            self._counts.size_bytes += length
            self._transport.write(_ANSWER)


async def _serve() -> None:
    counts, loop = _Counts(), asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Protocol(counts), "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook", flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        print(counts.requests, counts.size_bytes, flush=True)


if __name__ == "__main__":
    asyncio.run(_serve())

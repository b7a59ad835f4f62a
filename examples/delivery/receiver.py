"""Receive webhooks: verify each, store it, answer at once, and work on it afterwards.

TV_WEBHOOK_SECRET=... python examples/delivery/receiver.py [--port 9000] [--database inbox.db]
"""

import argparse
import json
import os
import sqlite3
import sys
import threading
from contextlib import closing, suppress
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool

from tvDatafeed.delivery import VerificationError, VerifiedMessage, verify


class Inbox:
    """Messages in an SQLite file. The id is the key: a message that comes again changes nothing."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._has_more = threading.Event()
        with closing(self._connect()) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS message"
                " (id TEXT PRIMARY KEY, body BLOB NOT NULL, is_done INTEGER NOT NULL DEFAULT 0)"
            )

    def add(self, message: VerifiedMessage) -> bool:
        """Store a message; return whether it is new. It is on disk before this returns."""
        with closing(self._connect()) as connection:
            added = connection.execute(
                "INSERT OR IGNORE INTO message (id, body) VALUES (?, ?)",
                (message.id, message.body),
            ).rowcount
        self._has_more.set()
        return added == 1

    def work(self) -> None:
        """Handle messages in the order in which they came, also those of an earlier run."""
        connection = self._connect()
        while True:
            self._has_more.clear()
            rows = connection.execute(
                "SELECT id, body FROM message WHERE NOT is_done ORDER BY rowid"
            ).fetchall()
            for message_id, body in rows:
                handle(message_id, json.loads(body))
                connection.execute("UPDATE message SET is_done = 1 WHERE id = ?", (message_id,))
            if not rows:
                self._has_more.wait()

    def _connect(self) -> sqlite3.Connection:
        # Without transactions of the module: each statement is one, and is on disk when it ends.
        return sqlite3.connect(self._path, timeout=10, isolation_level=None)


def handle(message_id: str, message: dict[str, Any]) -> None:
    """Do the work: your part. After a crash it may be called again for the last message."""
    data = message["data"]
    # One message holds several bars if the sender was made with batch=.
    for bar in data["bars"] if message["type"] == "bars.closed" else [data]:
        print(message_id, message["type"], json.dumps(bar), flush=True)


def make_app(inbox: Inbox, secrets: list[str]) -> FastAPI:
    """Make the application, which answers POST /bars."""
    app = FastAPI()

    @app.post("/bars")
    async def receive(request: Request) -> Response:
        try:
            message = verify(request.headers, await request.body(), secrets)
        except VerificationError as error:
            return Response(str(error), status_code=401)
        await run_in_threadpool(inbox.add, message)
        return Response(status_code=204)

    return app


def main() -> int:
    """Serve until Ctrl-C; 2 without a secret."""
    reader = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    reader.add_argument("--port", type=int, default=9000)
    reader.add_argument("--database", default="inbox.db")
    arguments = reader.parse_args()
    secrets = os.environ.get("TV_WEBHOOK_SECRET", "").split()
    if not secrets:
        print("Set TV_WEBHOOK_SECRET; `tvdatafeed deliver secret` makes one.", file=sys.stderr)
        return 2
    inbox = Inbox(arguments.database)
    threading.Thread(target=inbox.work, daemon=True).start()
    app = make_app(inbox, secrets)
    print(f"POST to http://127.0.0.1:{arguments.port}/bars; Ctrl-C ends this", flush=True)
    with suppress(KeyboardInterrupt):
        uvicorn.run(app, port=arguments.port, log_level="warning")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""One client's connection to a server that plays a recording."""

import heapq
import itertools
import socket
import time

from tvDatafeed.testing.connection import Connection
from tvDatafeed.testing.context import ServerContext
from tvDatafeed.testing.sessions.conversation import Conversation
from tvDatafeed.testing.sessions.playbook import Due, Play, Playbook, refusal_of
from tvDatafeed.testing.wire.actions import Action, Command, Finish, Message
from tvDatafeed.testing.wire.http11 import Request
from tvDatafeed.testing.wire.websocket import CLOSE, close_frame, frame, upgrade_reply


class ReplayConnection(Connection):
    """A connection that answers from a recording instead of the market.

    Parameters
    ----------
    context, sock
        As for `Connection`.
    book
        The recording.
    authority
        Host and port of the server.
    """

    def __init__(
        self, context: ServerContext, sock: socket.socket, book: Playbook, authority: str
    ) -> None:
        super().__init__(context, sock)
        self._book = book
        self._authority = authority
        self._waiting: list[tuple[float, int, Due]] = []
        self._count = itertools.count()

    def _conversation(self) -> Conversation | Play:
        hello = Conversation(self._context.backend, self._number).hello()
        self._play = Play(self._book, self._recorded, hello, self._authority)
        return self._play

    def _reply_to(self, request: Request) -> list[Action]:
        reply = self._book.respond(request)
        if reply is None:
            return []
        actions = self._context.faults.connection(lambda fault: fault.on_http(request, reply))
        return [reply.encode()] if actions is None else list(actions)

    def _upgrade(self, request: Request) -> None:
        self._recorded = self._book.next_connection()
        refusal = refusal_of(self._recorded)
        if refusal is not None or self._recorded.lost:
            self._perform([*([] if refusal is None else [refusal]), Finish()])
        self._number = self._context.journal.record_open()
        self._perform([upgrade_reply(request)])

    def _answer(self, command: Command, payloads: list[str]) -> None:
        super()._answer(command, payloads)
        self._play_due()

    def _due_at(self) -> float:
        return min([super()._due_at(), *(at_s for at_s, *_ in self._waiting[:1])])

    def _do_what_is_due(self) -> None:
        super()._do_what_is_due()
        self._play_due()

    def _play_due(self) -> None:
        for due in self._play.take_due():
            heapq.heappush(self._waiting, (due.at_s, next(self._count), due))
        while self._waiting and self._waiting[0][0] <= time.monotonic():
            due = heapq.heappop(self._waiting)[2]
            if due.end is None:
                self._emit(Message("reply", due.text, due.payloads))
            elif not due.end.has_frame:
                self._perform([Finish()])
            elif due.end.code is None:
                self._perform([frame(CLOSE, b""), Finish()])
            else:
                self._perform([close_frame(due.end.code, due.end.reason), Finish()])

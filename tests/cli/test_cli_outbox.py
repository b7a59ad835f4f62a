"""The commands of the outbox: what waits, what is dead, and what becomes of it."""

import json

import pytest

from tvDatafeed.cli import main
from tvDatafeed.delivery import Outbox, Webhook, new_secret

# Refuses connections: messages wait.
NOWHERE = "http://127.0.0.1:9/hook"


@pytest.fixture
def path(tmp_path, monkeypatch):
    """An outbox that the environment names, with two messages that wait."""
    place = tmp_path / "outbox.db"
    monkeypatch.setenv("TV_OUTBOX", str(place))
    with Webhook(NOWHERE, new_secret()) as hook:
        for number in range(2):
            hook.send("signal.created", {"number": number}, key=str(number))
    return place


def test_status(path, capsys):
    """The figures of the outbox, with each destination."""
    assert main(["deliver", "status"]) == 0
    text = capsys.readouterr().out
    assert str(path) in text
    assert "2, " in text
    assert NOWHERE in text
    assert main(["deliver", "status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pending"] == 2


def test_another_file(path, tmp_path, capsys):
    """`--outbox` names another file than the environment."""
    assert main(["deliver", "status", "--json", "--outbox", str(tmp_path / "other.db")]) == 0
    assert json.loads(capsys.readouterr().out)["pending"] == 0


def test_list(path, capsys):
    """Each message that waits is a line; dead ones are another list."""
    assert main(["deliver", "ls"]) == 0
    heads, *rows = capsys.readouterr().out.splitlines()
    assert heads.split()[0] == "ID"
    assert len(rows) == 2
    assert main(["deliver", "ls", "--json"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [message["type"] for message in found] == ["signal.created"] * 2
    assert main(["deliver", "ls", "--dead"]) == 0
    assert "no such messages" in capsys.readouterr().err


def test_drop(path, capsys):
    """A dropped message is gone; an unknown one is exit code 1."""
    with Outbox(path) as outbox:
        first, second = outbox.pending()
    assert main(["deliver", "drop", first.id]) == 0
    assert first.id in capsys.readouterr().err
    with Outbox(path) as outbox:
        assert [message.id for message in outbox.pending()] == [second.id]
    assert main(["deliver", "drop", first.id]) == 1


def test_retry(path, capsys):
    """Without an id all dead messages wait again; here there are none."""
    assert main(["deliver", "retry"]) == 0
    assert "0 dead messages" in capsys.readouterr().err
    with Outbox(path) as outbox:
        (first, _second) = outbox.pending()
    assert main(["deliver", "retry", first.id]) == 0
    assert main(["deliver", "retry", "evt_UNKNOWN"]) == 1


@pytest.mark.parametrize("command", ["status", "ls", "retry", "drop"])
def test_help_fits(command, capsys):
    """Each help page fits 80 columns."""
    assert main(["deliver", command, "--help"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80

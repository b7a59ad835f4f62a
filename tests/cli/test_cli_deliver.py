"""The commands of delivery: a secret, and an alert that is sent for a test."""

import base64

import pytest

from tests.cli.command import lines_of
from tests.delivery.telegram import CHAT_ID, TOKEN, TOKEN_SECRET, running
from tvDatafeed.cli import main


@pytest.fixture
def bot(monkeypatch):
    """The stand-in of Telegram, which the environment names."""
    with running() as fake:
        monkeypatch.setenv("TV_TELEGRAM_TOKEN", TOKEN)
        monkeypatch.setenv("TV_TELEGRAM_CHAT_ID", CHAT_ID)
        monkeypatch.setenv("TV_TELEGRAM_URL", fake.url)
        yield fake


def test_a_secret(capsys):
    """Each secret is a line of its own, of 32 random bytes."""
    secrets = set()
    for _time in range(2):
        assert main(["deliver", "secret"]) == 0
        secrets.add(capsys.readouterr().out)
    assert len(secrets) == 2
    for secret in secrets:
        assert secret.endswith("\n")
        assert len(base64.b64decode(secret.strip().removeprefix("whsec_"), validate=True)) == 32


@pytest.mark.parametrize("arguments", [[], ["the disk is full"]])
def test_an_alert(bot, capsys, arguments):
    """The alert has come when the command ends."""
    assert main(["deliver", "test-alert", *arguments]) == 0
    assert bot.texts == (arguments or ["tvDatafeed: this is a test"])
    assert lines_of(capsys.readouterr().err) == ["tvdatafeed: the alert was sent"]


def test_a_refusal(bot, capsys):
    """A refusal of Telegram is one line with its reason and advice, and no secret."""
    bot.refuse(401, "Unauthorized")
    assert main(["deliver", "test-alert", "--debug"]) == 1
    text = capsys.readouterr().err
    assert "Unauthorized; is TV_TELEGRAM_TOKEN right?" in text
    assert TOKEN_SECRET not in text
    assert CHAT_ID not in text


@pytest.mark.parametrize("variable", ["TV_TELEGRAM_TOKEN", "TV_TELEGRAM_CHAT_ID"])
def test_a_variable_is_missing(bot, capsys, monkeypatch, variable):
    """The error names the variable to set, with the exit code of a mistake."""
    monkeypatch.delenv(variable)
    assert main(["deliver", "test-alert"]) == 2
    (line,) = lines_of(capsys.readouterr().err)
    assert variable in line
    assert bot.texts == []


def test_a_command_is_needed(capsys):
    """The group alone is a mistake, and its help names each command."""
    assert main(["deliver"]) == 2
    assert main(["deliver", "--help"]) == 0
    text = capsys.readouterr().out
    assert "secret" in text
    assert "test-alert" in text


@pytest.mark.parametrize("command", [[], ["secret"], ["test-alert"]])
def test_help_fits(command, capsys):
    """Each help page fits 80 columns."""
    assert main(["deliver", *command, "--help"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80

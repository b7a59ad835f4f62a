"""A byte order mark at the begin of a file does not change what is in it."""

import io
import sys

import pytest

from tests.programs import urls
from tvDatafeed import TvDatafeed
from tvDatafeed.cli.app import main
from tvDatafeed.testing import Account, FakeTradingView

ANN = Account("ann", "secret1")


@pytest.fixture
def server():
    with FakeTradingView(accounts=(ANN,)) as running:
        yield running


def test_token_cache(server, tmp_path, caplog):
    """An editor that has saved the token cache with a mark costs no sign-in."""
    path = tmp_path / "tokens.json"
    for _time in range(2):
        with TvDatafeed(
            ANN.username, ANN.password, token_cache=str(path), config=server.config()
        ) as tv:
            assert len(tv.get_hist("NASDAQ:AAPL")) == 10
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(server.logins) == 1
    assert "damaged" not in caplog.text


def test_answers_to_login(server, tmp_path, monkeypatch, capsys):
    """A file of answers, as PowerShell writes it, logs in."""
    monkeypatch.setenv("TV_TOKEN_CACHE", str(tmp_path / "tokens.json"))
    for variable, url in urls(server).items():
        monkeypatch.setenv(variable, url)
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"\ufeff{ANN.username}\r\n{ANN.password}\r\n"))
    assert main(["login"]) == 0, capsys.readouterr().err

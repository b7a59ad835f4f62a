"""`tvdatafeed doctor` names the layer of each fault, and the next step."""

import contextlib
import json
import signal
import socket
import threading

import pytest

from tests.cli.command import needs_signals
from tests.cli.faults import ALICE, CASES, PASSWORD, SYMBOL, Scene, marks, no_name
from tests.cli.test_cli_app import PROGRAM
from tests.network.proxy import tunnel_to
from tests.programs import ROOT, start
from tests.scale import AT_ONCE_S, PATIENCE_S, at_most, scaled
from tvDatafeed.cli.app import main
from tvDatafeed.testing import (
    FakeTradingView,
    HeartbeatsOnly,
    HttpStatus,
    Redirect,
    UpgradeStatus,
)
from tvDatafeed.testing.routes import SEARCH_PATH

NAMES = [
    "versions",
    "zone files",
    "cache folder",
    "name lookup",
    "TCP",
    "proxy",
    "TLS",
    "handshake",
    "hello",
    "clock",
    "heartbeat",
    "token",
    "history",
    "search",
    "quotes",
]
# How long one check waits: for what comes on any machine, and for what never comes.
PATIENT_S, IMPATIENT_S = scaled(10.0), scaled(1.5)


@pytest.fixture
def scene(monkeypatch, tmp_path):
    """A machine without credentials."""
    monkeypatch.setenv("TV_TOKEN_CACHE", str(tmp_path / "cache" / "tokens.json"))
    with contextlib.ExitStack() as stack:
        made = Scene(stack, monkeypatch, tmp_path)
        made.limit(PATIENT_S)
        yield made


def run(capsys, *options):
    """Run the command; return its exit code and its checks by name."""
    code = main(["doctor", "--json", *options])
    shown = json.loads(capsys.readouterr().out)
    assert shown["ok"] == (code == 0)
    return code, {check["name"]: check for check in shown["checks"]}


def first_failure(checks):
    return next(name for name, check in checks.items() if check["ok"] is False)


@pytest.mark.parametrize("case", [pytest.param(c, id=c.name, marks=marks(c)) for c in CASES])
def test_fault(case, scene, capsys):
    """The first check that fails is that of the fault's layer, and it says what to do."""
    case.make(scene)
    if case.is_silence:
        scene.limit(IMPATIENT_S)
    with at_most(20):
        code, checks = run(capsys)
    assert code == 1
    assert list(checks) == NAMES
    assert first_failure(checks) == case.check, checks
    failed = checks[case.check]
    assert case.words in failed["message"]
    assert case.advice in failed["advice"]
    text = json.dumps(checks)
    assert "hunter2" not in text
    assert "please report" not in text


def test_all_is_well(scene, capsys):
    """Each check says what it has found; no secret, and one line each."""
    scene.serve()
    code, checks = run(capsys)
    assert code == 0, checks
    assert list(checks) == NAMES
    assert {check["ok"] for check in checks.values()} == {True}
    assert all(set(c) == {"name", "ok", "seconds", "message", "advice"} for c in checks.values())
    assert all(0 <= check["seconds"] < scaled(20) for check in checks.values())
    assert "OpenSSL" in checks["versions"]["message"]
    assert "IPv4 127.0.0.1, IPv6 none" in checks["name lookup"]["message"]
    assert "anonymous" in checks["token"]["message"]
    assert f"10 daily bars of {SYMBOL}" in checks["history"]["message"]


def test_lines_of_a_terminal(scene, capsys):
    """Without --json there is a line a check, and the next step below one that failed."""
    server = scene.serve(HttpStatus(500, path=SEARCH_PATH))
    assert main(["doctor", "--symbol", "NASDAQ:AAPL"]) == 1
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if line and not line.startswith(" ")]
    assert [line[6:].partition("  ")[0] for line in lines[:-1]] == NAMES
    (failed,) = (line for line in lines if line.startswith("FAIL"))
    assert "search" in failed
    assert out.count("next step: check TV_SEARCH_URL") == 1
    assert lines[-1] == "the first that failed: search"
    assert {m.params[2] for m in server.received if m.method == "resolve_symbol"} != set()
    assert "10 daily bars of NASDAQ:AAPL" in out


def test_what_needs_a_failed_check_is_not_tried(scene, capsys):
    """The check that failed is named, also two steps later; what is independent is tried."""
    scene.serve(UpgradeStatus(403))
    _code, checks = run(capsys)
    for name in ("hello", "heartbeat", "history", "quotes"):
        assert checks[name]["ok"] is None
        assert checks[name]["message"] == "not tried, since handshake failed"
    assert checks["search"]["ok"] is True
    # By the Date of the search.
    assert checks["clock"]["ok"] is True


def test_tls_names_the_authority(scene, capsys):
    """A private authority that TV_CA_FILE trusts is reported, and is not a fault."""
    scene.serve_tls()
    code, checks = run(capsys)
    assert code == 0, checks
    assert "issued by trustme" in checks["TLS"]["message"]
    assert "TV_CA_FILE trusts that" in checks["TLS"]["message"]


def test_proxy_that_works(scene, capsys):
    """The proxy, its setting and what it does for us are said, and not its password."""
    server = scene.serve()
    with tunnel_to(server) as port:
        scene.connect_to("ws://tradingview.invalid/socket.io/websocket")
        scene.patch.setenv("TV_PROXY", f"http://ann:hunter2@127.0.0.1:{port}")
        code, checks = run(capsys)
    assert code == 0, checks
    assert checks["proxy"]["message"] == f"http://127.0.0.1:{port}, from TV_PROXY"
    assert checks["name lookup"]["ok"] is None
    assert checks["TCP"]["message"] == "the proxy connects to tradingview.invalid:80"
    assert "hunter2" not in json.dumps(checks)


def test_proxy_of_the_system_is_the_next_step(scene, capsys):
    """Where the host cannot be reached and other programs use a proxy, that one is named."""
    no_name(scene)
    scene.patch.setenv("https_proxy", "http://ann:hunter2@proxy.invalid:3128")
    _code, checks = run(capsys)
    assert first_failure(checks) == "name lookup"
    advice = checks["name lookup"]["advice"]
    assert advice == "the system has a proxy: set TV_PROXY=http://proxy.invalid:3128"


def test_redirect_is_followed(scene, capsys):
    """A hello of the same site that redirects leads to the next host."""
    there = scene.stack.enter_context(FakeTradingView())
    scene.serve(Redirect(f"127.0.0.1:{there.port}"))
    code, checks = run(capsys)
    assert code == 0, checks
    assert f"from 127.0.0.1:{there.port}, to which" in checks["hello"]["message"]


@pytest.mark.parametrize("way", ["token", "password", "cookies"])
def test_accounts(way, scene, capsys):
    """Plan, end and source of the token are said, and where a password was sent; no secret."""
    server = scene.serve(accounts=[ALICE])
    secrets = [PASSWORD]
    if way == "token":
        secrets = [server.issue_token(ALICE)]
        scene.patch.setenv("TV_AUTH_TOKEN", secrets[0])
    elif way == "password":
        scene.patch.setenv("TV_USERNAME", "alice")
        scene.patch.setenv("TV_PASSWORD", PASSWORD)
    else:
        cookies = server.issue_cookies(ALICE)
        secrets = [cookies.sessionid, cookies.sessionid_sign]
        scene.patch.setenv("TV_SESSIONID", cookies.sessionid)
        scene.patch.setenv("TV_SESSIONID_SIGN", cookies.sessionid_sign)
    code, checks = run(capsys)
    assert code == 0, checks
    message = checks["token"]["message"]
    assert "plan pro_premium, token expires" in message
    assert message.endswith("; accepted")
    assert ("which was sent to" in message) == (way == "password")
    assert len(server.logins) == (way == "password")
    assert not [secret for secret in secrets if secret in json.dumps(checks)]


def test_kept_login_sends_no_password(scene, capsys):
    """The second run finds the login of the first in the cache."""
    server = scene.serve(accounts=[ALICE])
    scene.patch.setenv("TV_USERNAME", "alice")
    scene.patch.setenv("TV_PASSWORD", PASSWORD)
    run(capsys)
    _code, checks = run(capsys)
    assert "from the token cache; accepted" in checks["token"]["message"]
    assert len(server.logins) == 1


def test_setting_that_cannot_be_used(scene, capsys):
    """A variable with a bad value is the first thing to mend: it is named, and nothing is sent."""
    scene.patch.setenv("TV_PING_TIMEOUT", "soon")
    assert main(["doctor"]) == 2
    assert "TV_PING_TIMEOUT" in capsys.readouterr().err


def test_symbol_without_its_exchange(scene, capsys):
    """A symbol must name its exchange."""
    assert main(["doctor", "--symbol", "AAPL"]) == 2
    assert "AAPL" in capsys.readouterr().err


def test_lookup_that_never_ends(scene, capsys):
    """The system's name lookup has no limit of its own; the check has one."""
    scene.serve()
    over = threading.Event()
    look_up = socket.getaddrinfo

    def hang(host, *arguments, **options):
        if host == "tradingview.invalid":
            over.wait(PATIENCE_S)
        return look_up(host, *arguments, **options)

    scene.patch.setattr(socket, "getaddrinfo", hang)
    scene.connect_to("ws://tradingview.invalid/")
    scene.limit(IMPATIENT_S)
    with at_most(10):
        _code, checks = run(capsys)
    over.set()
    assert first_failure(checks) == "name lookup"
    assert "no answer within" in checks["name lookup"]["message"]


@needs_signals
@pytest.mark.slow
def test_interrupt(scene):
    """Ctrl-C ends a check that waits, at once and without a traceback."""
    server = scene.serve(HeartbeatsOnly())
    with start("-c", PROGRAM, "doctor", server=server) as program:
        assert server.wait_until(lambda s: s.received)
        program.send_signal(signal.SIGINT)
        with at_most(AT_ONCE_S):
            _out, err = program.communicate()
    assert (program.returncode, err) == (130, "")


def test_issue_template_asks_for_it():
    """A report of a fault begins with what the doctor says, and a recording."""
    template = (ROOT / ".github" / "ISSUE_TEMPLATE" / "bug.yml").read_text(encoding="utf-8")
    assert "`tvdatafeed doctor`" in template
    assert "tvdatafeed record" in template

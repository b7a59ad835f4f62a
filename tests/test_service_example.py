"""``examples/service``: the bot as a program, its unit files, and its container."""

import configparser
import contextlib
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys

import pytest

from tests.feed import LiveServer, until
from tests.programs import NO_ACCOUNT, ROOT, environment
from tests.scale import PATIENCE_S
from tests.soak.service_hour import Hour, status_of, unused_port
from tvDatafeed import TvDatafeedLive
from tvDatafeed.config import environment_variables
from tvDatafeed.delivery import Outbox
from tvDatafeed.metrics import TvDatafeedCollector

FOLDER = ROOT / "examples" / "service"
UNITS = sorted(FOLDER.glob("*.service"))
NOBODY = 65534
SYMBOL = "BITSTAMP:BTCUSD"
# A user that no system lists. It may read what root may, as the interpreter may be in root's home,
# and write to its own folder alone.
OTHER = 54321
AS_OTHER = (
    *("setpriv", f"--reuid={OTHER}", f"--regid={OTHER}", "--clear-groups"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
)
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="no SIGTERM for one process there")


@pytest.fixture
def server():
    with LiveServer() as running:
        yield running


@contextlib.contextmanager
def bot(server, state, *, port=0, **how):
    """Run the bot in a folder that it cannot write to, without a home; as another user if it may.

    It ends with the block.
    """
    program = [*how.pop("prefix", ()), sys.executable, "-W", "error"]
    program += [str(FOLDER / "bot.py"), SYMBOL]
    kept = {k: v for k, v in environment(server).items() if k not in {"HOME", "XDG_CACHE_HOME"}}
    settings = {"PYTHONDONTWRITEBYTECODE": "1", "TV_BASE_RETRY_DELAY": "0.05"}
    with subprocess.Popen(
        [*program, "--state", str(state), "--port", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=kept | settings | how.pop("settings", {}),
        **how,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def recorded(state):
    """The times of the bars in the bot's file."""
    with contextlib.closing(sqlite3.connect(f"file:{state}/bars.db?mode=ro", uri=True)) as book:
        return [time for (time,) in book.execute("SELECT time FROM bar ORDER BY rowid")]


def is_healthy(process, port):
    """Wait for the first good answer; a bot that ends before is an error."""
    url = f"http://127.0.0.1:{port}/health"
    assert until(lambda: status_of(url) == 200 or process.poll() is not None)
    return process.poll() is None or process.communicate()


def expected(server, count):
    return [int(moment.timestamp()) for moment in server.closed(count=count)]


@posix_only
@pytest.mark.slow
def test_bot_goes_on_where_it_was(server, tmp_path):
    """Through SIGTERM and `kill -9` each bar is handled once; SIGTERM is exit code 0."""
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
        port = unused_port()
        with bot(server, tmp_path, port=port) as process:
            assert process.stdout.readline().endswith("\n")
            assert is_healthy(process, port) is True
            for _ in range(3):
                server.move(60)
                process.stdout.readline()
            assert until(lambda: recorded(tmp_path)[-1:] == expected(server, 1))
            process.send_signal(number)
            _out, err = process.communicate(timeout=PATIENCE_S)
            assert (process.returncode, err) == (
                0 if number == signal.SIGTERM else -number,
                NO_ACCOUNT,
            )
        # What closes while it is away.
        server.move(300, tick=False)
    bars = recorded(tmp_path)
    assert bars == list(range(bars[0], bars[-1] + 60, 60))
    assert len(bars) == 1 + 3 * 3 + 2 * 5


@posix_only
@pytest.mark.slow
def test_bot_needs_one_folder(server, tmp_path):
    """A read-only working folder, no HOME, no TMPDIR, and a user that the system may not know."""
    state, work = tmp_path / "state", tmp_path / "work"
    state.mkdir()
    work.mkdir()
    how = {"cwd": work, "settings": {"TMPDIR": str(tmp_path / "nowhere")}}
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root can write anywhere, and cannot become another user")
        os.chown(state, OTHER, OTHER)
        how["prefix"] = AS_OTHER
    work.chmod(0o555)
    port = unused_port()
    with bot(server, state, port=port, **how) as process:
        assert is_healthy(process, port) is True
        assert SYMBOL in process.stdout.readline()
        assert status_of(f"http://127.0.0.1:{port}/metrics") == 200
        process.send_signal(signal.SIGTERM)
        _out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, err) == (0, NO_ACCOUNT)
    assert list(work.iterdir()) == []
    assert [path.name for path in state.iterdir()] == ["bars.db"]
    assert recorded(state) == expected(server, 1)


@posix_only
@pytest.mark.slow
def test_bot_that_cannot_start(tmp_path):
    """Its last line says why, and the exit code makes the manager restart it."""
    settings = {
        "TV_WS_URL": f"ws://127.0.0.1:{unused_port()}/",
        "TV_MAX_RETRIES": "1",
        "TV_MAX_RESPONSE_TIME": "2",
    }
    with bot(None, tmp_path, settings=settings) as process:
        out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out) == (1, "")
    assert err.splitlines()[-1].startswith("The bot cannot start: ")


@posix_only
@pytest.mark.slow
def test_an_hour_in_short(tmp_path):
    """Three restarts of the server, two of the bot: nothing lost or twice, and health is right."""
    run = Hour(tmp_path, seconds=36.0, speed=60.0, away_s=2.0)
    run.run()
    assert run.wrong == []
    assert len(run.lives) >= 3
    # One a second, from the first one on that it got.
    assert run.bars >= 15
    judged = [status for _when, status, _must in run.judged()]
    assert judged.count(200) >= 2
    assert len(judged) > judged.count(200)


@posix_only
@pytest.mark.slow
def test_an_hour_finds_faults(tmp_path):
    """A bot that leaves bars out, and is always healthy, is reported."""
    text = (FOLDER / "bot.py").read_text("utf-8")
    faulty = text.replace("if failed.is_set():", "if bar.index[0].minute % 5 == 0:")
    faulty = faulty.replace("MetricsServer(tvl,", "MetricsServer(TvDatafeedLive(),")
    path = tmp_path / "faulty.py"
    path.write_text(faulty, encoding="utf-8")
    # The last bar may be one that it leaves out.
    run = Hour(tmp_path, seconds=15.0, speed=60.0, away_s=2.5, bot=path, settle_s=1.0)
    run.run()
    assert any("bars lost" in line and line[:2] != "0 " for line in run.wrong)
    assert any(line.startswith("/health was 200 after") for line in run.wrong)


class _Unit(configparser.RawConfigParser):
    """A unit file; the letter case of its keys counts."""

    def optionxform(self, optionstr):
        return optionstr


def unit(path):
    """The sections of a unit file."""
    parser = _Unit(strict=False, delimiters=("=",))
    parser.read_string(path.read_text("utf-8"))
    return parser


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_unit(path):
    """It starts again without end, writes to one folder, and any user will do."""
    service = unit(path)["Service"]
    assert service["Restart"] == "always"
    assert unit(path)["Unit"]["StartLimitIntervalSec"] == "0"
    hardened = ("DynamicUser", "PrivateTmp", "NoNewPrivileges", "ProtectHome")
    assert [service[key] for key in hardened] == ["yes"] * 4
    assert service["ProtectSystem"] == "strict"
    assert service["CapabilityBoundingSet"] == ""
    assert f"%S/{service['StateDirectory']}" in service["ExecStart"] + service["Environment"]
    assert set(re.findall(r"\bTV_\w+", path.read_text("utf-8"))) <= set(environment_variables())
    assert unit(path)["Install"]["WantedBy"] == "multi-user.target"
    # Only the commands report to systemd.
    assert (service["Type"] == "notify") == ("/tvdatafeed deliver" in service["ExecStart"])
    assert ("WatchdogSec" in service) == (service["Type"] == "notify")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd")
@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
@pytest.mark.slow
def test_unit_is_verified(path, tmp_path):
    """Systemd finds nothing wrong with it, where the programs that it starts are installed."""
    text = re.sub(r"(?m)^ExecStart=\S+", f"ExecStart={sys.executable}", path.read_text("utf-8"))
    copy = tmp_path / path.name
    copy.write_text(text, encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", str(copy)],  # noqa: S607 - wherever it is
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    lines = [line for line in (done.stdout + done.stderr).splitlines() if path.name in line]
    assert (done.returncode, lines) == (0, [])


def test_commands_of_the_units_and_the_image():
    """Programs know the options that files start them with."""
    text = (FOLDER / "bot.py").read_text("utf-8")
    lines = [unit(path)["Service"]["ExecStart"] for path in UNITS]
    lines.append((FOLDER / "Dockerfile").read_text("utf-8").partition("ENTRYPOINT")[2])
    for line in lines:
        options = re.findall(r"--[a-z-]+", line)
        known = text if "bot.py" in line else "--metrics-port"
        assert options
        assert all(f'"{option}"' in text or option in known for option in options)


def test_container():
    """Nothing but /state can be written, no user is needed, and its health is that of the bot."""
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    (name, service), *others = yaml.safe_load((FOLDER / "compose.yaml").read_text("utf-8"))[
        "services"
    ].items()
    assert (name, others) == ("bot", [])
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert [volume.partition(":")[2] for volume in service["volumes"]] == ["/state"]
    assert "tmpfs" not in service
    assert service["user"] == f"{NOBODY}:{NOBODY}"
    assert set(service["environment"]) <= set(environment_variables())
    assert service["restart"] == "unless-stopped"
    (port,) = service["ports"]
    assert port.startswith("127.0.0.1:")
    text = (FOLDER / "Dockerfile").read_text("utf-8")
    assert (FOLDER / service["build"]["context"] / service["build"]["dockerfile"]).samefile(
        FOLDER / "Dockerfile"
    )
    assert f"EXPOSE {port.rpartition(':')[2]}" in text
    assert f"127.0.0.1:{port.rpartition(':')[2]}/health" in text
    assert f"USER {NOBODY}" in text
    assert "HOME" not in text
    for source in re.findall(r"/source/(\S+\.py)", text):
        assert (ROOT / source).is_file()


def test_bot_is_short():
    """It fits a screen or so: what is difficult is in the library."""
    lines = (FOLDER / "bot.py").read_text("utf-8").partition("def main")[2].splitlines()
    assert len([line for line in lines if line.strip()]) <= 45


def test_files_are_listed(tmp_path):
    """The README lists each file, names variables that exist, and figures that there are."""
    readme = (FOLDER / "README.md").read_text("utf-8")
    names = [path.name for path in FOLDER.iterdir() if path.is_file() and path.name != "README.md"]
    assert all(f"]({name})" in readme for name in names)
    assert set(re.findall(r"\bTV_[A-Z_]+", readme)) <= set(environment_variables())
    figures = set(re.findall(r"`(tvdatafeed_[a-z_]+)`", readme))
    with TvDatafeedLive() as tvl, Outbox(tmp_path / "outbox.db") as outbox:
        known = {
            f"{family.name}_total" if family.type == "counter" else family.name
            for family in TvDatafeedCollector(tvl, outbox=outbox).collect()
        }
    assert figures
    assert figures <= known

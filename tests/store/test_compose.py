"""The deployment in ``examples/store``: its files agree with each other and with the library."""

import re

import pytest

from tests.programs import ROOT
from tvDatafeed.config import environment_variables

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")

FOLDER = ROOT / "examples" / "store"
README = (FOLDER / "README.md").read_text("utf-8")
TEXT = (FOLDER / "compose.yaml").read_text("utf-8")
COMPOSE = yaml.safe_load(TEXT)
SERVICES = sorted(COMPOSE["services"])
ENVIRONMENT = dict(
    line.split("=", 1)
    for line in (FOLDER / ".env").read_text("utf-8").splitlines()
    if line and not line.startswith("#")
)
SQL = (FOLDER / "tdengine" / "bars.sql").read_text("utf-8")
# As PostgreSQL's manual names them.
SETTINGS = {
    "checkpoint_timeout",
    "effective_cache_size",
    "max_connections",
    "max_wal_size",
    "shared_buffers",
    "synchronous_commit",
    "wal_buffers",
    "wal_compression",
}
# As TDengine's manual of SQL names them.
OPTIONS = {
    "BUFFER",
    "CACHEMODEL",
    "CACHESIZE",
    "DURATION",
    "KEEP",
    "PRECISION",
    "WAL_FSYNC_PERIOD",
    "WAL_LEVEL",
}


def test_services():
    """There are the two servers, and nothing else."""
    assert SERVICES == ["postgres", "tdengine"]


@pytest.mark.parametrize("name", SERVICES)
def test_service_is_complete(name):
    """A service has a version, a health check, a volume for its data, a network and a restart."""
    service = COMPOSE["services"][name]
    assert re.search(r":\d", service["image"])
    assert {"test", "interval", "timeout", "retries", "start_period"} == set(service["healthcheck"])
    named = [one.split(":")[0] for one in service["volumes"] if not one.startswith("./")]
    assert named
    assert set(named) <= set(COMPOSE["volumes"])
    assert set(service["networks"]) <= set(COMPOSE["networks"])
    assert service["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_of_this_machine(name):
    """No port is open to others unless `.env` says so."""
    for port in COMPOSE["services"][name]["ports"]:
        assert port.startswith("${BIND_ADDRESS:-127.0.0.1}:")
    assert ENVIRONMENT["BIND_ADDRESS"] == "127.0.0.1"


def test_variables_are_listed():
    """`.env` lists the variables that are used, with no password in it."""
    used = re.findall(r"(?<!\$)\$\{(\w+)", TEXT)
    assert set(used) == set(ENVIRONMENT)
    for name, value in ENVIRONMENT.items():
        is_secret = name.endswith("PASSWORD")
        assert (value == "") is is_secret
        assert (f"${{{name}:?" in TEXT) is is_secret


def test_postgres_settings():
    """Cache and write-ahead log are set, and the README explains each setting."""
    command = COMPOSE["services"]["postgres"]["command"]
    assert (command[0], set(command[1::2])) == ("postgres", {"-c"})
    names = {setting.split("=")[0] for setting in command[2::2]}
    assert names == SETTINGS
    assert [name for name in names if f"`{name}`" not in README] == []


def test_tdengine_settings():
    """The database keeps old bars, in milliseconds, and its options are explained."""
    name, options = re.fullmatch(r"CREATE DATABASE IF NOT EXISTS (\w+) (.*);\n", SQL).groups()
    words = options.split()
    values = dict(zip(words[::2], words[1::2], strict=True))
    assert set(values) == OPTIONS
    assert (name, values["PRECISION"], values["KEEP"]) == ("bars", "'ms'", "365000")
    assert int(values["KEEP"]) >= 3 * int(values["DURATION"])
    assert [name for name in OPTIONS - {"PRECISION"} if f"`{name}`" not in README] == []


def test_readme():
    """It has four cases of trouble and a checklist, and names variables that exist."""
    cases = README.partition("## When something fails")[2].partition("\n## ")[0]
    assert cases.count("\n### ") == 4
    assert README.partition("## Checklist")[2].count("- [ ] ") >= 8
    assert set(re.findall(r"\bTV_[A-Z_]+", README)) <= set(environment_variables())
    urls = re.findall(r"(postgresql|tdengine)://\w+:PASSWORD@127\.0\.0\.1:(\d+)/bars", README)
    assert urls == [
        ("postgresql", ENVIRONMENT["POSTGRES_PORT"]),
        ("tdengine", ENVIRONMENT["TDENGINE_PORT"]),
    ]

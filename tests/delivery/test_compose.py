"""The deployment in ``examples/delivery``: its files agree with each other and with the library."""

import re

import pytest

from tests.programs import ROOT
from tvDatafeed.config import environment_variables

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")

FOLDER = ROOT / "examples" / "delivery"
README = (FOLDER / "README.md").read_text("utf-8")
TEXT = (FOLDER / "compose.yaml").read_text("utf-8")
COMPOSE = yaml.safe_load(TEXT)
CONTENT = COMPOSE["configs"]["valkey"]["content"]
ENVIRONMENT = dict(
    line.split("=", 1)
    for line in (FOLDER / ".env").read_text("utf-8").splitlines()
    if line and not line.startswith("#")
)


def test_service_is_complete():
    """Valkey has a version, a health check, a volume for its data, a network and a restart."""
    assert list(COMPOSE["services"]) == ["valkey"]
    service = COMPOSE["services"]["valkey"]
    assert re.search(r":\d", service["image"])
    assert {"test", "interval", "timeout", "retries", "start_period"} == set(service["healthcheck"])
    assert {one.split(":")[0] for one in service["volumes"]} == set(COMPOSE["volumes"])
    assert set(service["networks"]) <= set(COMPOSE["networks"])
    assert service["restart"] == "unless-stopped"
    (config,) = service["configs"]
    assert service["command"] == ["valkey-server", config["target"]]


def test_port_is_of_this_machine():
    """The port is not open to others unless `.env` says so."""
    (port,) = COMPOSE["services"]["valkey"]["ports"]
    assert port.startswith("${BIND_ADDRESS:-127.0.0.1}:")
    assert ENVIRONMENT["BIND_ADDRESS"] == "127.0.0.1"


def test_variables_are_listed():
    """`.env` lists the variables that are used, with no password in it."""
    assert set(re.findall(r"(?<!\$)\$\{(\w+)", TEXT)) == set(ENVIRONMENT)
    assert ENVIRONMENT["VALKEY_PASSWORD"] == ""
    assert "${VALKEY_PASSWORD:?" in CONTENT


def test_bars_are_kept():
    """Bars survive a restart, and none is evicted when the memory is full."""
    settings = dict(line.split(" ", 1) for line in CONTENT.splitlines() if line[:1] != "#")
    assert settings["appendonly"] == "yes"
    assert settings["maxmemory-policy"] == "noeviction"


def test_readme():
    """The README names variables that exist, and the port of `.env`."""
    assert set(re.findall(r"\bTV_[A-Z_]+", README)) <= set(environment_variables())
    assert re.findall(r"127\.0\.0\.1:(\d+)/0", README) == [ENVIRONMENT["VALKEY_PORT"]]

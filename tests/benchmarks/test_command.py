"""The command line of the benchmark."""

import importlib
import inspect
import json
import sys

import pytest

from tests.benchmarks import __main__ as command
from tests.benchmarks.groups import GROUPS, Group, GroupError, Options, groups_of, measured
from tests.benchmarks.measure import Figure
from tests.programs import ROOT

TARGETS = [
    *(f"P{number}" for number in range(1, 10)),
    *(f"S{number}" for number in range(1, 9)),
    *(f"D{number}" for number in range(1, 6)),
]
PARSED = Figure("P1", "parse", "2 ms, floor 1: 2.0 x", "at most 1.7 x", False, value=2.0, unit="x")
SENT = Figure("D2", "post", "9 posts/s", "at least 8", True, 9.5, "posts/s", more_is_better=True)
BROKEN = "GroupError: 59 of 60 bars came"


@pytest.fixture
def run(monkeypatch):
    """Run the command with groups that are not measured; P2 fails."""

    def fake(group, options):
        assert options.runs == 60
        if group.names == "P2":
            raise GroupError(BROKEN)
        yield {"P1": PARSED, "D2": SENT}[group.names]

    def run(*arguments):
        monkeypatch.setattr(command, "measured", fake)
        monkeypatch.setattr(sys, "argv", ["benchmarks", *arguments])
        return command.main()

    return run


def test_every_target_has_a_group():
    assert {name for group in GROUPS for name in group.names.split()} >= set(TARGETS)


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.function)
def test_every_group_is_called_as_its_function_can_be(group):
    function = getattr(importlib.import_module(f"tests.benchmarks.{group.module}"), group.function)
    inspect.signature(function).bind(*group.arguments(Options()))


def test_a_name_chooses_every_group_that_has_its_figures():
    assert [group.function for group in groups_of(["P9"])] == [
        "deep_history",
        "growth_by_symbols",
        "growth_by_seises",
    ]
    assert groups_of(None) == GROUPS


def test_an_unknown_name_is_an_error_with_the_known_ones(run, capsys):
    with pytest.raises(SystemExit) as ended:
        run("--only", "P1", "P10")
    assert ended.value.code == 2
    written = capsys.readouterr().err
    assert "unknown figures: P10" in written
    assert all(name in written for name in TARGETS)


@pytest.mark.parametrize("option", ["--runs", "--rounds"])
def test_a_number_of_runs_is_at_least_one(run, option):
    with pytest.raises(SystemExit):
        run(option, "0")


def test_the_table_has_each_figure_and_how_long_its_group_took(run, capsys):
    assert run("--only", "P1", "D2") == 0
    lines = capsys.readouterr().out.splitlines()
    assert str(PARSED) in lines
    assert str(SENT) in lines
    assert any(line.strip().startswith("P1 took ") for line in lines)
    assert lines[-1].startswith("2 groups in ")


def test_a_group_that_fails_ends_neither_the_run_nor_stays_unsaid(run, capsys):
    assert run("--only", "P1", "P2", "D2") == 1
    written = capsys.readouterr().out
    assert f"P2: {BROKEN}" in written
    assert str(SENT) in written


def test_json_on_stdout_replaces_the_table(run, capsys):
    assert run("--only", "P1", "P2", "D2", "--json") == 1
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert [Figure(**figure) for figure in document["figures"]] == [PARSED, SENT]
    assert document["failed"] == {"P2": BROKEN}
    assert set(document["seconds"]) == {"P1", "P2", "D2"}
    assert str(PARSED) in captured.err


def test_json_goes_into_a_file_beside_the_table(run, capsys, tmp_path):
    run("--json", str(tmp_path / "figures.json"), "--only", "P1")
    document = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert [Figure(**figure) for figure in document["figures"]] == [PARSED]
    facts = document["facts"]
    assert set(facts) >= {"python", "platform", "pandas", "numpy", "cores", "commit", "date"}
    assert str(PARSED) in capsys.readouterr().out


@pytest.mark.slow
def test_a_group_is_measured_in_a_process_of_its_own(monkeypatch):
    """Settings of the one who measures are not inherited."""
    monkeypatch.setenv("TV_STORE_URL", "nothing://")
    monkeypatch.setenv("PYTHONPATH", "nowhere")
    (group,) = groups_of(["S8"])
    (figure,) = measured(group, Options(runs=1))
    assert (figure.name, figure.value, figure.holds) == ("S8", 0.0, True)


@pytest.mark.slow
def test_the_last_line_of_a_broken_process_is_the_reason():
    with pytest.raises(GroupError, match="ValueError"):
        list(measured(Group("X1", "client", "parsing"), Options(), ROOT))

"""``tvdatafeed completion`` prints a script with which the Tab key completes."""

import shutil
import subprocess
import sys

import pytest

from tests.cli.command import lines_of
from tests.programs import TIMEOUT_S, start
from tvDatafeed.cli.app import main
from tvDatafeed.interval import INTERVAL_TEXTS

BASH = None if sys.platform == "win32" else shutil.which("bash")
PROBE = """
source "$1"; shift
COMP_WORDS=("$@")
COMP_CWORD=$(( $# - 1 ))
$(complete -p tvdatafeed | sed 's/.*-F \\([^ ]*\\).*/\\1/')
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def tab(tmp_path, capsys, monkeypatch):
    """Returns what the Tab key offers in bash after a command line, in a folder with some files."""
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "script.bash"
    script.write_text(capsys.readouterr().out, encoding="utf-8")
    folder = tmp_path / "work"
    (folder / "backup").mkdir(parents=True)
    (folder / "bars.csv").touch()
    monkeypatch.chdir(folder)

    def press(line):
        words = line.split(" ")
        done = subprocess.run(
            [BASH, "-c", PROBE, "probe", str(script), *words],
            check=True,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=TIMEOUT_S,
        )
        assert done.stderr == ""
        return done.stdout.split()

    return press


@pytest.mark.skipif(BASH is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("tvdatafeed st", ["store"]),
        ("tvdatafeed comp", ["completion"]),
        ("tvdatafeed completion ", ["bash", "zsh", "fish", "tcsh", "powershell"]),
        ("tvdatafeed deliver st", ["status"]),
        ("tvdatafeed store ls --u", ["--url"]),
        ("tvdatafeed hist NASDAQ:AAPL --form", ["--format"]),
        ("tvdatafeed hist NASDAQ:AAPL --format ", ["table", "csv", "json", "parquet"]),
        ("tvdatafeed hist --interval 1mo", ["1mo"]),
        ("tvdatafeed live --interval ", list(INTERVAL_TEXTS)),
        ("tvdatafeed hist NASDAQ:AAPL --output ba", ["backup", "bars.csv"]),
        ("tvdatafeed store export ba", ["backup"]),
        ("tvdatafeed nonsense", []),
    ],
)
def test_tab_in_bash(tab, line, offered):
    """Commands, their commands, options, choices, intervals, files and folders."""
    assert sorted(tab(line)) == sorted(offered)


@pytest.mark.skipif(BASH is None, reason="there is no bash")
def test_tab_offers_every_command(tab, capsys):
    """What the main page lists is what is offered."""
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out.partition("  COMMAND\n")[2].partition("\n\n")[0]
    names = [line.split()[0] for line in listed.splitlines() if line[4] != " "]
    assert sorted(tab("tvdatafeed ")) == sorted(names)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "tcsh", "powershell"])
def test_each_shell_has_a_script(shell, capsys):
    """It knows the commands, and nothing else is on stdout."""
    assert main(["completion", shell]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith("#")
    assert all(word in out for word in ("tvdatafeed", "hist", "deliver", "fut-contract"))


def test_another_shell(capsys):
    """Its name is refused, with those that are known."""
    assert main(["completion", "ash"]) == 2
    (line,) = lines_of(capsys.readouterr().err)
    assert "invalid choice: 'ash'" in line
    assert "powershell" in line


def test_without_the_extra(monkeypatch, capsys):
    """The error names the package and the command that installs it."""
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 1
    (line,) = lines_of(capsys.readouterr().err)
    assert line.endswith('completion needs shtab: pip install "tvdatafeed[completion]"')


@pytest.mark.slow
def test_other_commands_do_not_import_it():
    """The package is imported by the command alone."""
    with start("-X", "importtime", "-m", "tvDatafeed", "completion", "--help") as program:
        out, err = program.communicate()
    assert "~/.bashrc" in out
    assert "tvDatafeed.cli.completion" in err
    assert "shtab" not in err

"""A value in a ``.env`` file is what stands there."""

import pytest

from tvDatafeed import ConfigurationError, TvDatafeedConfig

VALUES = [
    "pa${HOME}ss",
    "${TV_USERNAME}",
    "a$b",
    "${x:-y}",
    "$(whoami)",
    "a#b",
    "p&=+% ü",
    "%PATH%",
]


def password_in(file):
    return TvDatafeedConfig.from_env(dotenv_path=file, credentials=True).auth.password


@pytest.mark.parametrize("quote", ["", "'", '"'])
@pytest.mark.parametrize("value", VALUES)
def test_a_password_is_literal(tmp_path, value, quote):
    """Nothing in a value is replaced, with quotes and without."""
    file = tmp_path / ".env"
    file.write_text(f"TV_USERNAME=ann\nTV_PASSWORD={quote}{value}{quote}\n", "utf-8")
    assert password_in(file) == value


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_byte_order_mark_belongs_to_no_name(tmp_path, line_end):
    """A file that Notepad has saved sets its first variable too."""
    file = tmp_path / ".env"
    text = f"TV_PASSWORD=open sesame{line_end}TV_DEFAULT_BARS=7{line_end}"
    file.write_bytes(text.encode("utf-8-sig"))
    assert password_in(file) == "open sesame"
    assert TvDatafeedConfig.from_env(dotenv_path=file).data.default_bars == 7


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_another_encoding_is_an_error_that_names_the_right_one(tmp_path, encoding):
    """PowerShell writes UTF-16, and old editors the code page."""
    file = tmp_path / ".env"
    file.write_bytes("TV_PASSWORD=ü\n".encode(encoding))
    with pytest.raises(ConfigurationError, match="UTF-8"):
        password_in(file)

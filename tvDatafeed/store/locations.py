"""Where a store is: URLs and paths become engines."""

import os
from pathlib import Path
from urllib.parse import unquote

from tvDatafeed.common.redaction import masked_url as masked
from tvDatafeed.exceptions import ConfigurationError
from tvDatafeed.store.engine import Engine

_SCHEMES = "sqlite:///path, postgresql://..., tdengine://... or the path of a file"


def default_path() -> Path:
    """Return the file of the default store, in the user's data folder.

    Raises
    ------
    ConfigurationError
        When the user has no home folder.
    """
    import platformdirs  # noqa: PLC0415 - needed by few

    try:
        folder = Path(platformdirs.user_data_dir("tvDatafeed"))
    except RuntimeError:  # of pathlib: there is no home
        folder = Path("~")
    if not folder.is_absolute():
        raise ConfigurationError(
            "store", None, "must be the path of a file (TV_STORE_URL), as no home folder is known"
        )
    return folder / "bars.db"


def make_engine(url: "str | os.PathLike[str] | None", timeout_s: float) -> Engine:
    """Return the engine for a URL or a path; nothing is opened yet.

    Raises
    ------
    ConfigurationError
        When it is neither.
    """
    if url is None:
        return _sqlite(default_path(), timeout_s)
    text = os.fspath(url)
    if not isinstance(text, str) or not text.strip():
        raise ConfigurationError("store", text, f"must be {_SCHEMES}")
    scheme, separator, rest = text.partition("://")
    if not separator:
        return _sqlite(Path(text), timeout_s)
    match scheme.lower():
        case "sqlite":
            return _sqlite(_sqlite_path(text, rest), timeout_s)
        case "postgresql" | "postgres":
            try:
                from tvDatafeed.store.postgres import PostgresEngine  # noqa: PLC0415 - an extra
            except ImportError as error:
                raise ConfigurationError(
                    "store", masked(text), 'needs psycopg: pip install "tvdatafeed[postgres]"'
                ) from error
            return PostgresEngine(text, timeout_s)
        case "tdengine" | "tdengine+https":
            from tvDatafeed.store.tdengine import TdengineEngine  # noqa: PLC0415 - needed by few

            return TdengineEngine(text, timeout_s)
    raise ConfigurationError("store", masked(text), f"must be {_SCHEMES}")


def _sqlite_path(text: str, rest: str) -> Path:
    """Return the path in ``sqlite:///relative`` or ``sqlite:////absolute``."""
    if not rest.startswith("/") or len(rest) == 1:
        raise ConfigurationError(
            "store", text, "must have three slashes and a path: sqlite:///bars.db"
        )
    return Path(unquote(rest[1:]))


def _sqlite(path: Path, timeout_s: float) -> Engine:
    from tvDatafeed.store.sqlite import SqliteEngine  # noqa: PLC0415 - not before it is used

    full = os.path.expanduser(path)  # noqa: PTH111 - pathlib raises RuntimeError without a home
    return SqliteEngine(Path(os.path.abspath(full)), timeout_s)  # noqa: PTH100 - links stay

"""The cache that keeps data tokens between runs, in a file of the user alone."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import hmac
import json
import logging
import os
import secrets
import stat
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tvDatafeed.common.facts import facts
from tvDatafeed.exceptions import ConfigurationError

__all__ = ["CachedLogin", "TokenCache", "default_cache_path"]

logger: logging.Logger = logging.getLogger(__name__)

# A login is 3 KB; this holds hundreds.
MAX_CACHE_BYTES = 1024 * 1024
# More users of one machine's account than anybody has; the oldest make room.
MAX_CACHED_LOGINS = 32

_FORMAT = 1
# About 50 ms and 16 MB a guess.
_SCRYPT_N, _SCRYPT_R, _SCRYPT_P = 2**14, 8, 1
_SALT_BYTES = 16
_ONLY_THE_USER = 0o600
_OTHERS = 0o077
_ONLY_THE_USER_FOLDER = 0o700


def default_cache_path() -> Path:
    """Return where logins are kept unless another file is named: the user's cache folder.

    On Windows the folder lies inside the user's profile, which the other users of the machine
    cannot read.

    Raises
    ------
    ConfigurationError
        When the user has no home folder, as in a container that runs with any number as its user.
    """
    import platformdirs  # noqa: PLC0415 - needed by few

    try:
        folder = Path(platformdirs.user_cache_dir("tvDatafeed"))
    except RuntimeError:  # of pathlib: there is no home
        folder = Path("~")
    if not folder.is_absolute():
        raise ConfigurationError(
            "token_cache", None, "must be the path of a file, since no home folder is known"
        )
    return folder / "tokens.json"


def default_cache_path_if_any() -> Path | None:
    """Return `default_cache_path`; None, with a WARNING, when there is no home folder."""
    try:
        return default_cache_path()
    except ConfigurationError:
        logger.warning(
            "no login is kept, since no home folder is known; TV_TOKEN_CACHE names a file for them"
        )
        return None


@dataclass(frozen=True)
class CachedLogin:
    """What a login gave: the token, and the cookies that renew it without the password.

    Attributes
    ----------
    username : str
        The user, as the login was asked for.
    token : str
        The data token.
    sessionid, sessionid_sign : str
        The cookies; empty when unknown.
    plan : str
        The plan; empty for the free one.
    """

    username: str
    token: str = field(repr=False)
    sessionid: str = field(default="", repr=False)
    sessionid_sign: str = field(default="", repr=False)
    plan: str = ""


_LOGIN_FIELDS = tuple(f.name for f in dataclasses.fields(CachedLogin))


class TokenCache:
    """A file of logins that only its user can read.

    Each login is bound to user, endpoint and password: another password finds nothing. The file
    is replaced as a whole, so that a reader sees the old or the new one; of two programs that
    write at once the later one wins. A file that is damaged, that belongs to someone else or
    that others may read is not used, and a WARNING says so. No method raises because of the
    file: without it, one logs in.

    Parameters
    ----------
    path : str or path, optional
        The file. Default: `default_cache_path`, asked for at each use.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        # No shell has expanded a "~" here.
        self._path = None if path is None else Path(os.path.expanduser(path))  # noqa: PTH111

    def __repr__(self) -> str:
        return f"<TokenCache {self.path}>"

    @property
    def path(self) -> Path:
        """Where the file is, or will be."""
        return default_cache_path() if self._path is None else self._path

    def find(self, username: str, endpoint: str, password: str) -> CachedLogin | None:
        """Return the login of a user, if the password is the one it was made with.

        Parameters
        ----------
        username : str
            The user.
        endpoint : str
            The URL of the site.
        password : str
            The password.
        """
        for entry in self._read():
            if _is_of(entry, username, endpoint):
                return _login(entry) if _fits(entry, password) else None
        return None

    def latest(self, endpoint: str) -> CachedLogin | None:
        """Return the newest login at an endpoint, whoever's it is.

        Parameters
        ----------
        endpoint : str
            The URL of the site.
        """
        entries = [entry for entry in self._read() if entry["endpoint"] == endpoint]
        return _login(entries[-1]) if entries else None

    def store(self, login: CachedLogin, endpoint: str, password: str) -> None:
        """Keep a login in the place of the user's former one.

        Parameters
        ----------
        login : CachedLogin
            What the login gave.
        endpoint, password : str
            What it is bound to, besides its user.
        """
        salt = secrets.token_bytes(_SALT_BYTES)
        entry = {
            "endpoint": endpoint,
            "salt": salt.hex(),
            "password_hash": _hash(password, salt),
            **dataclasses.asdict(login),
        }
        others = [e for e in self._read() if not _is_of(e, login.username, endpoint)]
        self._write([*others, entry][-MAX_CACHED_LOGINS:])

    def renew(self, login: CachedLogin, endpoint: str) -> None:
        """Replace what is kept of a login by what its cookies gave; it stays bound as it is.

        Parameters
        ----------
        login : CachedLogin
            The new token and cookies.
        endpoint : str
            The URL of the site.
        """
        entries = self._read()
        mine = [entry for entry in entries if _is_of(entry, login.username, endpoint)]
        if mine:
            others = [entry for entry in entries if entry not in mine]
            self._write([*others, mine[0] | dataclasses.asdict(login)])

    def forget(self, username: str | None, endpoint: str) -> bool:
        """Take a login out of the file.

        Parameters
        ----------
        username : str or None
            Whose; None for those of all users.
        endpoint : str
            The URL of the site.

        Returns
        -------
        bool
            Whether there was one.
        """
        entries = self._read()
        others = [
            entry
            for entry in entries
            if not _is_of(entry, entry["username"] if username is None else username, endpoint)
        ]
        if len(others) == len(entries):
            return False
        self._write(others)
        return True

    def problem(self) -> str | None:
        """Return why no login can be kept or found here; None when nothing is wrong.

        An empty file is made in the folder, or where that would be made, and removed.

        Raises
        ------
        ConfigurationError
            As for `default_cache_path`.
        """
        path = self.path
        try:
            _load(path)
        except _UnusableError as error:
            return f"the token cache {path} is ignored: {error}"
        folder = next(each for each in path.parents if each.exists())
        try:
            with tempfile.TemporaryFile(dir=folder):
                return None
        except OSError as error:
            reason = error.strerror or type(error).__name__
            return f"no login can be kept in {path}: {folder} cannot be written: {reason}"

    def _usable_path(self) -> Path | None:
        return default_cache_path_if_any() if self._path is None else self._path

    def _read(self) -> list[dict[str, str]]:
        """Return the entries, the newest last; none of a file that cannot be trusted."""
        path = self._usable_path()
        if path is None:
            return []
        try:
            return _load(path)
        except _UnusableError as error:
            logger.warning(
                "the token cache %s is ignored: %s",
                path,
                error,
                extra=facts(error=error, path=path),
            )
            return []

    def _write(self, entries: list[dict[str, str]]) -> None:
        path = self._usable_path()
        if path is None:
            return
        try:
            if entries:
                _write_private(path, json.dumps({"format": _FORMAT, "logins": entries}))
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            logger.warning(
                "the token cache %s cannot be written: %s",
                path,
                reason,
                extra=facts(path=path, reason=reason),
            )


class _UnusableError(Exception):
    """The file cannot be read, is damaged, or is not the user's own and theirs alone."""


def _load(path: Path) -> list[dict[str, str]]:
    """Return the entries of a file; none of one that does not exist."""
    try:
        return _checked(json.loads(_read_private(path)))
    except FileNotFoundError:
        return []
    except OSError as error:
        reason = error.strerror or type(error).__name__
    except (ValueError, RecursionError):
        # The original may show what stands in the file.
        reason = "it is damaged, or of another program"
    raise _UnusableError(reason)


def _read_private(path: Path) -> str:
    # Neither a link nor a pipe in the place of the file is followed or waited for.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0))
    with open(descriptor, "rb") as file:  # noqa: PTH123 - of a descriptor
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _UnusableError("it is no ordinary file")
        if hasattr(os, "geteuid"):
            if status.st_uid != os.geteuid():
                raise _UnusableError("it belongs to another user")
            if status.st_mode & _OTHERS:
                raise _UnusableError("others may read or write it; make its mode 0600")
        content = file.read(MAX_CACHE_BYTES + 1)
    if len(content) > MAX_CACHE_BYTES:
        raise ValueError("too long")
    return content.decode("utf-8-sig")


def _write_private(path: Path, text: str) -> None:
    path.parent.mkdir(mode=_ONLY_THE_USER_FOLDER, parents=True, exist_ok=True)
    marks = f"{os.getpid()}.{threading.get_ident()}.{secrets.token_hex(4)}"
    draft = path.with_name(f".{path.name}.{marks}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    # Nobody else could open it even while it is empty.
    descriptor = os.open(draft, flags, _ONLY_THE_USER)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - of a descriptor
            file.write(text)
        draft.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise


def _checked(content: Any) -> list[dict[str, str]]:
    """Return the entries of a file's content, or raise ValueError."""
    entries = content.get("logins") if isinstance(content, dict) else None
    if not isinstance(entries, list) or content.get("format") != _FORMAT:
        raise ValueError("no token cache")
    names = {"endpoint", "salt", "password_hash", *_LOGIN_FIELDS}
    for entry in entries:
        if not isinstance(entry, dict) or not names <= entry.keys():
            raise ValueError("no login")
        if not all(isinstance(entry[name], str) for name in names):
            raise ValueError("no login")
        bytes.fromhex(entry["salt"])
    return entries


def _is_of(entry: dict[str, str], username: str, endpoint: str) -> bool:
    return entry["username"] == username and entry["endpoint"] == endpoint


def _fits(entry: dict[str, str], password: str) -> bool:
    expected = _hash(password, bytes.fromhex(entry["salt"]))
    return hmac.compare_digest(expected.encode(), entry["password_hash"].encode())


def _hash(password: str, salt: bytes) -> str:
    # A password may hold what is no valid text, such as half of a surrogate pair.
    raw = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(raw, salt=salt, n=_SCRYPT_N, r=_SCRYPT_R, p=_SCRYPT_P).hex()


def _login(entry: dict[str, str]) -> CachedLogin:
    return CachedLogin(**{name: entry[name] for name in _LOGIN_FIELDS})

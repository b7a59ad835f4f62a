"""What a test may ask of the accounts of a loopback TradingView, and order."""

from collections.abc import Iterable

from tvDatafeed.testing.accounts.accounts import (
    Account,
    AccountService,
    Cookies,
    Login,
    SignInRules,
)
from tvDatafeed.testing.journal import Journal


class AccountControls(SignInRules):
    """The side of the server that shows and steers its accounts; see `SignInRules` for the rest.

    Parameters
    ----------
    accounts
        Who may sign in from the start.
    journal
        What the server has seen.
    """

    def __init__(self, accounts: Iterable[Account], journal: Journal) -> None:
        super().__init__()
        self._journal = journal
        self._accounts = AccountService(accounts, self, journal)

    @property
    def accounts(self) -> dict[str, Account]:
        """The accounts by their names."""
        return {account.username: account for account in self._accounts.all()}

    @property
    def logins(self) -> list[Login]:
        """All attempts to sign in, and all codes, in order."""
        return self._journal.copy("logins")

    @property
    def tokens_issued(self) -> int:
        """How many tokens were issued: by signing in, by pages and by `issue_token`."""
        return self._accounts.tokens.issued

    def add_account(self, account: Account) -> None:
        """Add an account, or replace the one of the same name and forgive its wrong passwords."""
        self._accounts.add(account)

    def issue_token(self, account: Account | str) -> str:
        """Return a new token of an account, given itself or by name, as its page would."""
        return self._accounts.issue(self._account(account))

    def issue_cookies(self, account: Account | str) -> Cookies:
        """Return the cookies of an account that has signed in, as a browser would have them."""
        return self._accounts.admit(self._account(account))

    def expire_tokens(self, *, now: bool = False) -> None:
        """Let all tokens issued so far end, whatever their ``exp`` says.

        Parameters
        ----------
        now
            Also on live connections that use them, which `expired_token_is` says the end of.
            Otherwise a token is looked at when a client sends it.
        """
        self._accounts.tokens.expire()
        self._recheck(now=now)

    def revoke(self, token: str, *, now: bool = False) -> None:
        """Let one token end, whoever issued it; `now` is as in `expire_tokens`."""
        self._accounts.tokens.expire(token)
        self._recheck(now=now)

    def expire_cookies(self) -> None:
        """Sign everyone out: all cookies issued so far are an anonymous visitor's."""
        self._accounts.sign_out()

    def _account(self, account: Account | str) -> Account:
        return self.accounts[account] if isinstance(account, str) else account

    def _recheck(self, *, now: bool) -> None:
        for client in self._journal.clients() if now else ():
            client.recheck()

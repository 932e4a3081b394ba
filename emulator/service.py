"""The whole emulator: its accounts, what they share, and how it starts and stops."""

from __future__ import annotations

import asyncio
import fcntl
import logging
from functools import cached_property

import httpx
from aiohttp import ClientSession

from emulator.account import Account
from emulator.process import Processes
from emulator.removal import Removal, remove
from emulator.settings import Settings
from emulator.storage import session
from emulator.window.requests import Requests

_LOCK = "emulator.lock"


class UnusableRoot(Exception):
    """The root directory is another emulator's, or has what no emulator made; the text says which."""


class Service:
    """Accounts by name, each created when it is first used."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.log = logging.getLogger("emulator")
        self.nodes = settings.root / "nodes"
        self.accounts: dict[str, Account] = {}
        self.processes = Processes(self.nodes)
        self.removal = Removal(self.nodes / ".gone")  # no account has such a name
        self.requests = Requests()
        self.client = httpx.AsyncClient(timeout=settings.storage_timeout, follow_redirects=True)

    @cached_property
    def storage_session(self) -> ClientSession:
        """The connections of all accounts to storage; they belong to the event loop that first asks."""
        return session()

    def open(self) -> None:
        """Take the root directory, and end and remove what an emulator that died left in it.

        Raises:
            UnusableRoot: when another emulator has it, or it holds other people's files.
            OSError: when it cannot be written.
        """
        for directory in self.settings.root.parents:
            if directory.name == "nodes" and (directory.parent / _LOCK).exists():
                raise UnusableRoot(f"it is among the nodes of the emulator with the root {directory.parent}")
        self.settings.root.mkdir(parents=True, exist_ok=True)
        lock = self.settings.root / _LOCK
        if self.nodes.exists() and not lock.exists():
            raise UnusableRoot(f"{self.nodes} is not an emulator's, and would be removed")
        self._lock = lock.open("a")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UnusableRoot(f"another emulator uses {self.settings.root}") from None
        self.processes.adopt()
        self.processes.raise_limit()
        ended = self.processes.end_strays()
        if ended:
            self.log.warning("ended %d processes that an emulator which died had left running", ended)
        if self.nodes.exists():
            remove(self.nodes)
        self.nodes.mkdir()

    def account(self, name: str) -> Account:
        """The account of a name, new if need be."""
        account = self.accounts.get(name)
        if account is None:
            account = self.accounts[name] = Account(name, self)
        return account

    def forget(self, account: Account) -> None:
        """Drop an account that was closed, and the files of its nodes."""
        if self.accounts.get(account.name) is account:  # else it was forgotten already, and another may have its name
            del self.accounts[account.name]
            self.removal.discard(account.directory, ignore_errors=True)

    async def close(self) -> None:
        """End every task's processes."""
        await asyncio.gather(*(account.close() for account in self.accounts.values()))
        self.processes.end_strays(children=True)
        self.processes.close()
        self.removal.close()
        await self.client.aclose()
        await self.storage_session.close()
        self._lock.close()

"""A MySQL or MariaDB of our own on this machine, for the production engines' demo and the tests."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import aiomysql  # type: ignore[import-untyped]
import pymysql  # type: ignore[import-untyped]

from boxoffice.embedded import Child
from boxoffice.local import installed
from boxoffice.ports import free_ports

PASSWORD = "boxoffice"
"""Of both users; the server listens on 127.0.0.1 alone."""

# Run at every start. The name is a pattern (`_` stands for any one character), so that each test may have a
# database of its own.
INIT = f"""\
CREATE DATABASE IF NOT EXISTS boxoffice CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE USER IF NOT EXISTS boxoffice@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';
CREATE USER IF NOT EXISTS boxoffice_reader@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';
CREATE USER IF NOT EXISTS root@'127.0.0.1';
GRANT ALL ON `boxoffice%`.* TO boxoffice@'127.0.0.1';
GRANT SELECT ON `boxoffice%`.* TO boxoffice_reader@'127.0.0.1';
GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;
"""


class SqlServer:
    """What MySQL and MariaDB have in common; use LocalMySql or LocalMariaDb. `options` are the daemon's own."""

    title: ClassVar[str]
    daemon: ClassVar[str]
    own_options: ClassVar[tuple[str, ...]] = ()

    def __init__(self, data_dir: Path, options: Sequence[str] = ()) -> None:
        self.data_dir = data_dir
        self.options = tuple(options)
        self.port = 0
        self.child: Child | None = None

    @property
    def url(self) -> str:
        return self.url_of("boxoffice")

    @property
    def changes(self) -> dict[str, Any]:
        """The settings that lead here."""
        return {"ledger_url": self.url, "ledger_reader_url": self.url_of("boxoffice_reader")}

    def url_of(self, user: str, database: str = "boxoffice") -> str:
        """`boxoffice`, `boxoffice_reader` (may only SELECT) or `root`."""
        password = "" if user == "root" else f":{PASSWORD}"
        return f"mysql+aiomysql://{user}{password}@127.0.0.1:{self.port}/{database}"

    @property
    def children(self) -> list[Child]:
        return [self.child] if self.child else []

    @property
    def pid(self) -> int:
        assert self.child, f"{self.title} was not started"
        return self.child.pid

    async def start(self) -> None:
        """Returns when it lets our users in. A second start takes port and data of the first."""
        home = installed(self.title)
        self.port = self.port or free_ports(1)[0]
        if not (self.data_dir / "data").exists():
            await asyncio.to_thread(self._set_up, home)
        self.child = Child(self.daemon, self._argv(home), self.data_dir / f"{self.daemon}.log")
        await self.child.start(self._serves)

    def _set_up(self, home: Path) -> None:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        (self.data_dir / "tmp").mkdir(exist_ok=True)
        (self.data_dir / "init.sql").write_text(INIT)
        copy = self.data_dir / "copying"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(home / "empty", copy)
        copy.rename(self.data_dir / "data")

    def _argv(self, home: Path) -> list[str | Path]:
        data_dir = self.data_dir.resolve()
        options = {
            "basedir": home / "usr",
            "plugin-dir": home / "usr/lib/mysql/plugin",
            "lc-messages-dir": home / "usr/share/mysql",
            "datadir": data_dir / "data",
            "pid-file": data_dir / "pid",
            "tmpdir": data_dir / "tmp",  # a server that starts clears its own of what others of its kind have in use
            "init-file": data_dir / "init.sql",
            "user": getpass.getuser(),
            "bind-address": "127.0.0.1",
            "port": self.port,
            "socket": "",
            "skip-name-resolve": "ON",
            "innodb-buffer-pool-size": "256M",
            "performance-schema": "OFF",
        }
        given = (f"--{name}={value}" for name, value in options.items())
        return [home / "bin" / self.daemon, "--no-defaults", *given, *self.own_options, *self.options]

    async def _serves(self) -> bool:
        """Whether this very server answers; on a port already taken, another one would."""
        account = {"user": "boxoffice", "password": PASSWORD, "db": "boxoffice"}
        try:
            connection = await aiomysql.connect(host="127.0.0.1", port=self.port, connect_timeout=2, **account)
        except (OSError, pymysql.err.Error):
            return False
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(connection.close)
            cursor = await stack.enter_async_context(connection.cursor())
            await cursor.execute("SELECT @@datadir")
            (datadir,) = await cursor.fetchone()
        return Path(datadir) == (self.data_dir / "data").resolve()

    async def stop(self) -> None:
        if self.child:
            self.resume()
            await self.child.stop()

    async def kill(self) -> None:
        """`kill -9`; `start` brings it back on the same port with what it had committed."""
        assert self.child, f"{self.title} was not started"
        await self.child.kill()

    def pause(self) -> None:
        """It hangs: connections are taken and nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        if self.child and self.child.running:
            os.kill(self.pid, signal.SIGCONT)

    def wipe(self) -> None:
        """Forgets everything; only while it is stopped."""
        assert not (self.child and self.child.running), "stop it first"
        shutil.rmtree(self.data_dir)


class LocalMySql(SqlServer):
    title, daemon = "MySQL", "mysqld"
    own_options = ("--mysqlx=OFF", "--secure-file-priv=NULL")


class LocalMariaDb(SqlServer):
    title, daemon = "MariaDB", "mariadbd"

"""The environment of g-core: settings, or ConfigError with a sentence for each fault."""

from __future__ import annotations

from random import Random

from fuzz_campaign import Case

from gearbox.errors import ConfigError
from gearbox.settings import Settings

__all__ = ["Environment"]

NAMES = [
    "GEARBOX_LISTEN", "GEARMAN_SERVER", "GEARBOX_DATABASE", "GEARBOX_RETENTION", "GEARBOX_HTTP",
    "GEARBOX_HTTP_TOKEN", "GEARBOX_HTTP_HOSTS", "XDG_STATE_HOME", "HOME", "DEBUG",
    "MYSQL_HOSTNAME", "MYSQL_PORT", "MYSQL_DATABASE", "MYSQL_USER", "MYSQL_PASSWORD", "MYSQL_UNIX_SOCKET",
    "MYSQL_SSL_CA", "MYSQL_SSL_CERT", "MYSQL_SSL_KEY", "DB_TABLE_JOBS", "GEARBOX_HTTP", "GEARBOX_HTTP_TOKEN",
]  # fmt: skip
PARTS = [
    "", "127.0.0.1", ":", "4730", "99999", "-1", "0", "tcp://", "tls://", "unix://", "/x", "[::1]", "[", "]", "a:b",
    ",", ", ,", "?cert=", "%00", "é", "\udc80", "complete=", "errored=1", "=", "nan", "inf", "1e400", "-0", "9" * 5000,
    "running=1", "~", "~nobody/x", "\n", " ", "://", "//", "@", "#", "localhost:4730", "unix:///run/x.sock", "off",
]  # fmt: skip


class Environment:
    """A case is (name, value) pairs."""

    name = "environment"
    cases = 10_000

    def make(self, chance: Random) -> Case:
        return [
            (name, "".join(chance.choices(PARTS, k=chance.randint(0, 4))))
            for name in chance.sample(NAMES, chance.randint(1, 5))
        ]

    def check(self, case: Case) -> None:
        try:
            settings = Settings.from_environment(dict(case))
        except ConfigError:
            return
        assert all(days >= 0 for days in settings.keep_days.values())

    def close(self) -> None:
        pass

"""
What a connection to PostgreSQL needs besides its URL.

Rules:
  * Nothing waits for ever: connecting, a lock, a server that is gone, a transaction that its client left open.
  * A commit is on disk before it returns, even where the server's default says otherwise.
  * A process holds a bounded number of connections: each is a process of the server's, which has few.
  * A kept connection is tried before it is used, so a server that was restarted costs nobody a message.

What the URL sets itself (libpq's keywords, in its query) wins. Where it names no password, libpq looks for one as
usual: PGPASSFILE, `passfile=`, `service=`.
"""

from typing import Any

from sqlalchemy import URL, Engine, event

CONNECTIONS = 20
"""The most connections that one process holds for look-ups; as many for writing."""
_KEPT = 5
_LIBPQ = {
    "application_name": "gatepost",
    "client_encoding": "UTF8",
    "connect_timeout": 5,
    # A server whose host is gone is noticed after about 20 seconds.
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
_SET = """
    SELECT set_config('lock_timeout', '10s', false),
           set_config('idle_in_transaction_session_timeout', '60s', false),
           set_config('default_transaction_read_only', '{read_only}', false),
           CASE current_setting('synchronous_commit')
               WHEN 'off' THEN set_config('synchronous_commit', 'on', false) END
"""


def engine_options(url: URL) -> dict[str, Any]:
    """Give what SQLAlchemy's engine takes for this URL."""
    return {
        "pool_size": _KEPT,
        "max_overflow": CONNECTIONS - _KEPT,
        "pool_timeout": 10,
        "pool_pre_ping": True,
        # A condition in UPDATE or DELETE is judged again once a row's lock is there: leases rely on it.
        "isolation_level": "READ COMMITTED",
        "connect_args": {name: value for name, value in _LIBPQ.items() if name not in url.query},
    }


def prepare(engine: Engine, *, reading: bool) -> None:
    """Set every new connection of an engine up; a reading one refuses to write."""
    statement = _SET.format(read_only="on" if reading else "off")

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own type
        connection.execute(statement)
        connection.commit()


def told(error: BaseException) -> str:
    """
    Tell a driver's error in one line.

    Of what the server answers only the first line: the others show the row. Where no server answered, all of them:
    they name each address that was tried.
    """
    lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()]
    unanswered = getattr(error, "sqlstate", "") is None
    return " ".join(lines if unanswered else lines[:1]) or type(error).__name__

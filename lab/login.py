"""
A place where Postfix asks about logins: Dovecot's protocol for SASL, with one password for everybody.

https://doc.dovecot.org/developer_manual/design/auth_protocol/
"""

import base64
import socket
from pathlib import Path

from lab.listening import Listening

PASSWORD = "open-sesame"  # noqa: S105 - of a throw-away server
_GREETING = "VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\t00\nDONE\n"


class LoginServer(Listening):
    """The server, at a UNIX socket that every user may reach; use it as a context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        path.chmod(0o666)
        listener.listen(20)
        super().__init__(listener)

    def serve(self, client: socket.socket) -> None:
        """Answer logins until the client hangs up."""
        with client.makefile("rw", encoding="ascii", newline="\n") as talk:
            talk.write(_GREETING)
            talk.flush()
            for line in talk:
                words = line.rstrip("\n").split("\t")
                if words[0] == "AUTH":
                    response = next(word for word in words if word.startswith("resp=")).removeprefix("resp=")
                    _, user, password = base64.b64decode(response).decode().split("\0")
                    answer = f"OK\t{words[1]}\tuser={user}" if password == PASSWORD else f"FAIL\t{words[1]}"
                    talk.write(f"{answer}\n")
                    talk.flush()


def plain(user: str, password: str = PASSWORD) -> str:
    """Write the SMTP command that logs a user in (RFC 4616)."""
    return "AUTH PLAIN " + base64.b64encode(f"\0{user}\0{password}".encode()).decode()

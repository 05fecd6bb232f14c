"""
Keys, wired: the key worker, the way to it, the encryption pool, and the key table for administrators.
"""

import pwd
import signal
import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from gatepost import secrets
from gatepost.app.certification import certification_of
from gatepost.app.store import chains_of, open_database, unix_path
from gatepost.crypto.certificate import EitherReader
from gatepost.crypto.envelope import Enveloper
from gatepost.crypto.gnupg_engine import GnupgDecryptor, GnupgKeys
from gatepost.crypto.halves import Unsealer
from gatepost.crypto.opened_envelope import SmimeDecryptor
from gatepost.crypto.openpgp_signer import OpenpgpSigner
from gatepost.crypto.private_certificate import SmimeKeys
from gatepost.crypto.private_key import load
from gatepost.crypto.proof import Prover
from gatepost.crypto.sequoia import SequoiaEncryptor
from gatepost.crypto.signed_writer import SmimeSigner
from gatepost.crypto.smime import Smime
from gatepost.crypto.x509 import X509Reader
from gatepost.db.engine import Database
from gatepost.db.issuing import SqlIssuing
from gatepost.db.keys import KeyTable, SqlKeys
from gatepost.db.stamps import SqlStamps
from gatepost.errors import ConfigError
from gatepost.gateway.issuing import Issuing
from gatepost.gateway.keyring import Keyring
from gatepost.message.direction import Site
from gatepost.mta.postfix.own_services import grown
from gatepost.mta.postfix.postconf import size_limit
from gatepost.settings import Settings
from gatepost.vault.expiry import Expiry
from gatepost.workers import notify
from gatepost.workers.heads import Heads
from gatepost.workers.key_client import KeyClient
from gatepost.workers.keys import LARGEST, Callers, KeyHolder, KeyServer
from gatepost.workers.pool import Pool
from gatepost.workers.stamper import Stamper, Stamping

if TYPE_CHECKING:
    from gatepost.crypto.token import Tokens


def pool_of(settings: Settings) -> Pool:
    """Give the encryption pool with the engine that the settings name."""
    return Pool(settings.openpgp.engine, program=settings.openpgp.gpg, directory=settings.gateway.spool)


def smime_of(settings: Settings) -> Smime:
    """Give what encrypts with S/MIME, as the settings choose."""
    spool = settings.gateway.spool
    return Smime(
        Enveloper(cipher=settings.smime.cipher, oaep=settings.smime.rsa == "oaep", directory=spool), spool
    )


def key_client_of(settings: Settings) -> KeyClient:
    """Give the way to the key worker."""
    return KeyClient(unix_path(settings.keys.socket), directory=settings.gateway.spool, most=_most(settings))


def _most(settings: Settings) -> int:
    """Tell how many octets an opened message may have: what Postfix's queue takes behind the milter."""
    try:
        limit = size_limit(settings.postfix.config_directory)
    except ConfigError:
        return LARGEST  # a site without Postfix yet
    return min(grown(limit) or LARGEST, LARGEST)


def keyring_of(settings: Settings) -> Keyring:
    """Give the key table as administrators edit it; raises ConfigError."""
    return Keyring(
        table=KeyTable(open_database(settings)),
        reader=EitherReader(openpgp=SequoiaEncryptor(), smime=X509Reader()),
        maker=GnupgKeys(settings.openpgp.gpg),
        smime=SmimeKeys(),
        tokens=lambda: tokens_of(settings),
        public=lambda: secrets.read_public("keys", settings.secrets.directory),
        site=Site(frozenset(settings.gateway.internal_domains)),
        certification=certification_of(settings),
    )


def tokens_of(settings: Settings) -> "Tokens":
    """Give the tokens behind the site's PKCS #11 module; raises ConfigError."""
    if not settings.keys.pkcs11_module:
        raise ConfigError("keys on tokens need a PKCS #11 module; set [keys] pkcs11_module to its file")
    try:
        from gatepost.crypto.token import Tokens  # noqa: PLC0415 - few sites have its library
    except ImportError:
        raise ConfigError("[keys] pkcs11_module needs python-pkcs11; install gatepost[pkcs11]") from None
    return Tokens(settings.keys.pkcs11_module, lambda: secrets.read_pin(settings.secrets.directory))


def issuing_of(settings: Settings) -> Issuing:
    """Give what makes certificates of ours; raises ConfigError."""
    directory = settings.secrets.directory
    return Issuing(
        store=SqlIssuing(open_database(settings)),
        ring=keyring_of(settings),
        public=lambda: secrets.read_public("keys", directory),
        private=lambda: secrets.read_halves("keys", directory).all,
        site=Site(frozenset(settings.gateway.internal_domains)),
    )


def serve_keys(settings: Settings, ready: Callable[[], None]) -> None:
    """Serve private-key operations until SIGTERM or SIGINT; calls `ready` once the socket is there."""
    database = open_database(settings)
    decryptor = GnupgDecryptor(settings.openpgp.gpg)
    keys, vault = (partial(secrets.read_halves, name, settings.secrets.directory) for name in secrets.PAIRS)
    prover = keys().prover()
    heads = Heads(settings.keys.state)
    tokens = tokens_of(settings) if settings.keys.pkcs11_module else None
    if tokens is not None:
        secrets.read_pin(settings.secrets.directory)  # a fault is told before the first message
    load_key = tokens.load if tokens else load
    holder = KeyHolder(
        own=KeyTable(database),
        partners=SqlKeys(database),
        openpgp=decryptor,
        smime=SmimeDecryptor(triple_des=settings.smime.triple_des, load=load_key),
        signers={
            "openpgp": OpenpgpSigner(decryptor),
            "smime": SmimeSigner(load_key, pss=settings.smime.signature == "pss"),
        },
        keys=Unsealer(keys),
        vault=Unsealer(vault),
        prover=prover,
        heads=heads.numbers,
    )
    server = KeyServer(unix_path(settings.keys.socket), holder, _callers(settings))
    for number in (signal.SIGTERM, signal.SIGINT):
        # `shutdown` waits for the loop to end, which this very thread runs
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    stamper = _stamper(settings, database, prover, heads)
    stamping, expiry = Stamping(stamper), Expiry("events", stamper.purge)
    ready()
    try:
        server.serve_forever(poll_interval=0.2)
    finally:
        notify.stopping()
        server.server_close()
        expiry.close()
        stamping.close()
        decryptor.close()
        if tokens is not None:
            tokens.close()
        database.close()


def _stamper(settings: Settings, database: Database, prover: Prover, heads: Heads) -> Stamper:
    """Wire what stamps this host's events."""
    return Stamper(
        hosts=chains_of(settings),
        store=SqlStamps(database),
        prover=prover,
        heads=heads,
        keep=timedelta(days=settings.audit.keep_days),
    )


def _callers(settings: Settings) -> Callers:
    """Let the milter's user have mail opened and signed; root or the worker's own user alone release held mail."""
    try:
        return Callers(open=frozenset({pwd.getpwnam(settings.keys.milter_user).pw_uid}))
    except KeyError:
        return Callers()  # all services share one user, as under `gatepost run`

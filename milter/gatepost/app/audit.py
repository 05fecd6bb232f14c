"""
The record of events, audited: what stands in the database against what the key worker proves.
"""

from gatepost.app.keys import key_client_of
from gatepost.app.store import open_database
from gatepost.db.stamps import snapshot
from gatepost.directory.audit import Findings, audit
from gatepost.settings import Settings


def verify(settings: Settings) -> tuple[tuple[Findings, ...], int]:
    """
    Audit every host's chain; gives the findings, and how many events are older than stamps.

    The key worker must be running; raises WorkerError, StorageError.
    """
    key_worker = key_client_of(settings)
    try:
        heads = key_worker.heads()  # before the snapshot: what is stamped meanwhile is not missed
        with snapshot(open_database(settings)) as record:
            hosts = sorted({*record.hosts(), *heads})
            found = tuple(audit(host, record, key_worker.prove, heads.get(host)) for host in hosts)
            return found, record.unchained()
    finally:
        key_worker.close()

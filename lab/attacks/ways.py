"""The ways in which a message can be encrypted or signed, by the people of lab.attacks.people."""

from lab.attacks import cms, forms, openpgp
from lab.attacks.chance import Chance
from lab.attacks.people import DOC


def encrypted(way: str, chance: Chance, entity: bytes, *names: str) -> bytes:
    """Encrypt an entity: by `openpgp`, or by a cipher's name as CMS, `+stream` or `+keyid` behind it."""
    names = names or (DOC,)
    if way == "openpgp":
        return forms.pgp_encrypted(openpgp.encrypted(chance, openpgp.literal(entity), *names).armor())
    cipher, *how = way.split("+")
    made = cms.envelope(chance, entity, cipher, *names, key_id="keyid" in how)
    return enclosed(made, stream="stream" in how)


def enclosed(made: cms.Envelope, *, stream: bool = False) -> bytes:
    """Write the entity around an envelope."""
    kind = "authEnveloped-data" if made.code else "enveloped-data"
    return forms.cms(made.ber() if stream else made.der(), kind)


def signed(way: str, name: str, entity: bytes) -> bytes:
    """Sign an entity: by `openpgp`, as CMS `detached` or `opaque`."""
    if way == "openpgp":
        return forms.pgp_signed(entity, openpgp.armored("SIGNATURE", openpgp.signature(name, entity)))
    if way == "detached":
        return forms.cms_signed(entity, cms.signed(name, entity, inside=False))
    return forms.cms(cms.signed(name, entity, inside=True), "signed-data")


def signed_and_encrypted(way: str, chance: Chance, name: str, entity: bytes, *names: str) -> bytes:
    """Sign an entity and encrypt it: by `openpgp` in one message, else as CMS inside CMS."""
    if way == "openpgp":
        made = openpgp.encrypted(chance, openpgp.signed(name, entity), *(names or (DOC,)))
        return forms.pgp_encrypted(made.armor())
    return encrypted(way, chance, signed("opaque", name, entity), *names)

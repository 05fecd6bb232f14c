"""Write tests/golden/attacks anew."""

import shutil
from collections import Counter
from collections.abc import Iterator
from itertools import chain

from lab.attacks import (
    accomplice,
    author,
    exfiltration,
    gadget,
    integrity,
    nesting,
    people,
    replay,
    signers,
    valid,
    wrapping,
)
from lab.attacks.mail import Mail


def mails() -> Iterator[Mail]:
    """Give every attack, one class after the other."""
    return chain(
        valid.valid(),
        signers.zero_signers(),
        signers.confused_content(),
        author.two_authors(),
        author.another_sender(),
        wrapping.referred_to(),
        wrapping.put_away(),
        exfiltration.exfiltrating(),
        gadget.gadgets(),
        integrity.stripped(),
        nesting.nested(),
        replay.replayed(),
        accomplice.to_accomplices(),
    )


def main() -> None:
    """Make the keys that are missing, and write every attack."""
    people.make_keys()
    for folder in people.GOLDEN.iterdir():
        if folder != people.KEYS:
            shutil.rmtree(folder)
    numbers: Counter[str] = Counter()
    for mail in mails():
        numbers[mail.kind] += 1
        mail.write(people.GOLDEN / mail.kind / f"{numbers[mail.kind]:02}-{mail.name}")


if __name__ == "__main__":
    main()

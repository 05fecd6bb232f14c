"""
Mails that attack whoever decrypts and verifies for others, each with what every insider may get of it.

    python -m lab.attacks    write tests/golden/attacks anew

They follow published attacks: "Johnny, you are fired!" (USENIX Security 2019) on signatures, EFAIL (USENIX
Security 2018) on encryption, and "Re: What's up Johnny?" (ACNS 2019) on decryption for another. Everything is made
from fixed keys and octets that only look random, so the files come out the same each time.

Nothing here uses the product's code.
"""

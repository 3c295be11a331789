"""Who takes part in a trial of something new: a share of all, chosen by their names."""

import hashlib


def is_on_trial(name: str, share: float) -> bool:
    """Whether what is called ``name`` belongs to the ``share``, from 0 to 1, that is on trial.

    The same name always gives the same answer, and who is on trial at a small share is so at a larger one.
    What has no name is not on trial.
    """
    if not name:
        return False
    digest = hashlib.blake2b(name.encode(), digest_size=8, person=b"canary").digest()
    return int.from_bytes(digest, "big") < share * 2**64

"""Tells secrets by their names: of members of JSON, of headers, of parameters in urls."""

import re
from functools import lru_cache

#: Anywhere in a name, without case, underscores and dashes.
_PARTS = (
    "secret|token|usersig|privatemapkey|accesskey|password|passwd|passphrase|passcode|pwd|credential|apikey|signkey|privatekey"
    "|encryptionkey|authori[sz]|authentic|oauth|cookie|signature|bearer|jwt|hmac|volctime|txtime|wstime"
)
_PART = re.compile(_PARTS)
#: As a word of its own: `AK`, `my_sk`, `X-Sig`.
_WORDS = frozenset({"ak", "sk", "sig", "sign", "pass", "auth", "pin", "otp"})
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
#: What ends in `key` is one, but for these.
_KNOWN = "objectkey recordkey recorderkey filekey publickey idempotencykey routingkey partitionkey sortkey hotkey"
_NO_KEYS = frozenset(_KNOWN.split())
_LONGEST = 100


@lru_cache(maxsize=4096)
def is_secret(name: str) -> bool:
    """Whether what stands under this name is a secret. Of a long name its beginning and its end count."""
    short = name if len(name) <= 2 * _LONGEST else f"{name[:_LONGEST]} {name[-_LONGEST:]}"
    joined = "".join(each for each in short.lower() if each.isalnum())
    if _PART.search(joined) or (joined.endswith("key") and joined not in _NO_KEYS) or joined.endswith("sig"):
        return True
    return any(word.lower() in _WORDS for word in _WORD.findall(short))

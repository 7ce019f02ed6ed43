"""Recognises secrets by their names: members of JSON, headers, parameters in urls."""

import re
from functools import lru_cache

#: Parts of names of secrets; matched anywhere, ignoring case, underscores and dashes.
_PARTS = (
    "secret|token|usersig|privatemapkey|accesskey|password|passwd|passphrase|passcode|pwd|credential|apikey|signkey|privatekey"
    "|encryptionkey|authori[sz]|authentic|oauth|cookie|signature|bearer|jwt|hmac|volctime|txtime|wstime"
)
_PART = re.compile(_PARTS)
#: Names of secrets that count only as a whole word: `AK`, `my_sk`, `X-Sig`.
_WORDS = frozenset({"ak", "sk", "sig", "sign", "pass", "auth", "pin", "otp"})
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
#: Names that end in `key` and are no secrets; any other name that ends so is one.
_HARMLESS_KEYS = "objectkey recordkey recorderkey filekey publickey idempotencykey routingkey partitionkey sortkey hotkey"
_NOT_SECRET = frozenset(_HARMLESS_KEYS.split())
_MAX_PART = 100


@lru_cache(maxsize=4096)
def is_secret(name: str) -> bool:
    """Returns whether a value with this name is a secret. Of a long name only the beginning and the end count."""
    short = name if len(name) <= 2 * _MAX_PART else f"{name[:_MAX_PART]} {name[-_MAX_PART:]}"
    joined = "".join(character for character in short.lower() if character.isalnum())
    if _PART.search(joined) or (joined.endswith("key") and joined not in _NOT_SECRET) or joined.endswith("sig"):
        return True
    return any(word.lower() in _WORDS for word in _WORD.findall(short))

"""Hides what must not be seen: secrets from everybody, stream keys from those who may only look (decision 18).

A stream url is a password: whoever knows it can publish under it. What is not known to be harmless is hidden; where a url leads
stays readable. `names` knows secrets by what they are called, `words` what is plainly no key, `urls` and `texts` take keys out of
urls and of sentences, `values` goes through JSON, and `given` finds our own mask in what somebody sends.

Whatever a text is, the time grows with its length and no faster: no expression here can try again what it has seen, and of a long
text the beginning is looked at and the rest hidden.
"""

from adapters.contract.masking.files import file_name, file_url
from adapters.contract.masking.given import masked_paths
from adapters.contract.masking.texts import identifier, text
from adapters.contract.masking.urls import stream_url
from adapters.contract.masking.values import at_path, harmless, hidden, keyed_url, without_keys, without_secrets
from adapters.contract.masking.words import HIDDEN

__all__ = [
    "HIDDEN",
    "at_path",
    "file_name",
    "file_url",
    "harmless",
    "hidden",
    "identifier",
    "keyed_url",
    "masked_paths",
    "stream_url",
    "text",
    "without_keys",
    "without_secrets",
]

"""Masking: hides secrets from every reader, and stream keys from readers without the right to see them (decision 18).

A stream url is a credential: everyone who knows it can publish under it. What is not known to be harmless is hidden; the target of
a url stays readable. The running time is linear in the length of a text: no regular expression here backtracks over its input, and
of a long text only the beginning is examined and the rest is hidden.

* `secret_names` - recognises secrets by their names.
* `plain_words` - recognises plain names, numbers, hosts and words, which are no keys.
* `urls` - masks stream keys in urls.
* `files` - masks urls and names of files.
* `texts` - masks keys in sentences.
* `json_values` - walks through JSON values and masks at any depth.
* `mask_detection` - finds our own mask in what a client sends.
"""

from adapters.contract.masking.files import mask_file_name, mask_file_url
from adapters.contract.masking.json_values import (
    hide_value,
    mask_at_path,
    mask_undocumented,
    mask_url_value,
    without_keys,
    without_secrets,
)
from adapters.contract.masking.mask_detection import masked_paths
from adapters.contract.masking.plain_words import HIDDEN
from adapters.contract.masking.texts import mask_identifier, mask_text
from adapters.contract.masking.urls import mask_stream_url

__all__ = [
    "HIDDEN",
    "hide_value",
    "mask_at_path",
    "mask_file_name",
    "mask_file_url",
    "mask_identifier",
    "mask_stream_url",
    "mask_text",
    "mask_undocumented",
    "mask_url_value",
    "masked_paths",
    "without_keys",
    "without_secrets",
]

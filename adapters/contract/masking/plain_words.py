"""Recognises what is plainly no key: names given by people, numbers, hosts, words of a sentence. Anything else is masked."""

import re

from adapters.contract.masking.secret_names import is_secret

#: The mask.
HIDDEN = "***"

#: One piece of a name: a number, a word followed by a number, two capitals. Keys are more mixed.
_PIECE = re.compile(r"[0-9]{1,13}|[a-z]{1,20}[0-9]{0,4}|[A-Z][a-z]{1,20}[0-9]{0,4}|[A-Z]{1,2}[0-9]{0,4}")
_BETWEEN = re.compile(r"[-_.]")
_PIECES, _NAME = 12, 64
#: Four groups of four characters: the notation of some CDNs' keys.
_GROUPS, _GROUP = 4, 4
_LABEL = re.compile(r"[a-z0-9-]{1,40}")
_TURNS = re.compile(r"(?<=[a-z])(?=[0-9])|(?<=[0-9])(?=[a-z])")
_MOST_TURNS = 3
_ADDRESS = re.compile(r"\[[0-9A-Za-z:.%]{0,60}\]?")
_PORT = re.compile(r"[0-9]{1,5}")
_WORD = re.compile(r"[^\W\d_]{1,40}")
_NUMBER = re.compile(r"[+-]?[0-9][0-9.,:]{0,15}(ms|s|kb|mb|kbps|%)?", re.IGNORECASE)
_LONG = 16
_HUMPS = re.compile(r"[A-Z]*[a-z]+|[A-Z]+")
#: Average letters per hump at least: in a sentence, and in a path, which may contain a key.
_HUMP, _STEP_HUMP = 4, 3
_PROTOCOLS = frozenset({"HTTP", "HTTPS", "RTSP", "RTMP", "RTMPS", "ICE", "TCP", "UDP", "TLS", "IP"})


def is_plain_name(name: str) -> bool:
    """Returns whether it is a name as people give them: `live`, `show-42`, `Room1_cam`; not `streamkey-7`, which names a secret."""
    if not name or len(name) > _NAME:
        return False
    pieces = _BETWEEN.split(name)
    if any(is_secret(piece) for piece in pieces):
        return False
    if len(pieces) > _PIECES or (len(pieces) >= _GROUPS and all(len(piece) == _GROUP for piece in pieces)):
        return False
    return all(_PIECE.fullmatch(piece) for piece in pieces)


def mask_host(netloc: str) -> str:
    """Returns a host and port with the labels masked that look like keys; the mask alone if it is no host."""
    if _ADDRESS.match(netloc):
        end = netloc.find("]") + 1 or len(netloc)
        return netloc[:end] + _mask_port(netloc[end:]) if _ADDRESS.fullmatch(netloc[:end]) else HIDDEN
    host, colon, port = netloc.partition(":")
    labels = (host.lower() if host.isupper() and "." in host else host).split(".")
    if len(netloc) > 4 * _NAME:
        return HIDDEN
    return ".".join(label if not label or _is_label(label) else HIDDEN for label in labels) + _mask_port(colon + port)


def _mask_port(text: str) -> str:
    return text if _PORT.fullmatch(text[1:]) and text[0] == ":" else f":{HIDDEN}" if text else ""


def _is_label(label: str) -> bool:
    """Returns whether it is a label of a host: letters and numbers that do not alternate as in a key."""
    label = label[0].lower() + label[1:]
    if not _LABEL.fullmatch(label):
        return False
    return all(len(_TURNS.findall(piece)) <= _MOST_TURNS and (len(piece) < _LONG or piece.isalpha()) for piece in label.split("-"))


def is_host(text: str) -> bool:
    """Returns whether it looks like a host without a scheme before it: a name with a dot, or with a port."""
    host, colon, port = text.partition(":")
    if len(text) > 4 * _NAME or (colon and not _PORT.fullmatch(port)):
        return False
    return bool(host) and (bool(colon) or "." in host.strip(".")) and all(_is_label(label) for label in host.split(".") if label)


def _has_long_humps(word: str) -> bool:
    """Returns whether it is short, or made of words as `InvalidParameter` is; the letters of a key change case more often."""
    return len(word) < _LONG or len(word) >= _HUMP * len(_HUMPS.findall(word))


def is_plain_step(part: str) -> bool:
    """Returns whether it is plainly a step of a path, as in `and/or`, `HTTP/1.1`, `NotFound/Gone` or `dir1/a.mp4`."""
    if part in _PROTOCOLS or is_plain_name(part):
        return True
    if part.isalpha():
        return not part.isupper() and len(part) >= _STEP_HUMP * len(_HUMPS.findall(part))
    return part.islower() and is_harmless(part)


def is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None


def is_harmless(word: str) -> bool:
    """Returns whether it is a plain word, a number or a plain name."""
    if _NUMBER.fullmatch(word) or is_plain_name(word):
        return True
    if len(word) <= _NAME and all(_WORD.fullmatch(part) and _has_long_humps(part) for part in _BETWEEN.split(word)):
        return True
    if len(word) >= _LONG or not word.isascii():
        return not word.isascii() and len(word) <= _NAME
    return "-" not in word[1:] and not any(mark in word for mark in "=@%\\/")

"""Secrets are hidden from all, stream keys from viewers."""

from typing import Any

import pytest

from adapters import masking


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtmp://push.example.com/live/s1?txSecret=abc", "rtmp://push.example.com/live/***"),
        ("rtmp://push.example.com:1935/live/a/b/c", "rtmp://push.example.com:1935/live/***"),
        ("rtmp://user:word@push.example.com/live/s1", "rtmp://push.example.com/live/***"),
        ("rtmp://a@b@push.example.com/live/s1", "rtmp://push.example.com/live/***"),
        ("rtmp://push.example.com//live//s1", "rtmp://push.example.com/live/***"),
        ("rtmp://push.example.com/live/s 1", "rtmp://push.example.com/live/***"),
        ("rtmp://push.example.com\\live\\s1", "rtmp://push.example.com/live/***"),
        ("rtmp://push.example.com/s1", "rtmp://push.example.com/***"),
        ("srt://push.example.com:9000?streamid=s1", "srt://push.example.com:9000/***"),
        ("https://push.example.com/whip#s1", "https://push.example.com/***"),
        ("rtmp://[2001:db8::1]/live/s1", "rtmp://[2001:db8::1]/live/***"),
        ("rtmp://[half/live/s1", "rtmp://[half/live/***"),
        ("rtmp://push.example.com", "rtmp://push.example.com"),
        ("rtmp://push.example.com/", "rtmp://push.example.com"),
        ("s1?txSecret=abc", "***"),
        ("", "***"),
    ],
)
def test_a_stream_url_keeps_only_where_it_leads(url: str, shown: str) -> None:
    assert masking.stream_url(url) == shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://vod.example.com/b/a.mp4?sign=abc", "https://vod.example.com/b/a.mp4"),
        ("https://u:p@vod.example.com/b/a.mp4#x", "https://vod.example.com/b/a.mp4"),
        ("b/a.mp4?sign=abc", "b/a.mp4"),
    ],
)
def test_a_file_url_loses_its_query(url: str, shown: str) -> None:
    assert masking.file_url(url) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cannot push to rtmp://p.example.com/live/s1?k=1, again", "cannot push to rtmp://p.example.com/live/*** again"),
        ('{"url":"rtmp://p.example.com/live/s1"}', '{"url":"rtmp://p.example.com/live/***"}'),
        ("nothing here: a/b", "nothing here: a/b"),
    ],
)
def test_urls_within_a_text_lose_their_keys(text: str, shown: str) -> None:
    assert masking.text(text) == shown


@pytest.mark.parametrize(
    "name",
    [
        "Token",
        "UserSig",
        "PrivateMapKey",
        "AccessKey",
        "SecretKey",
        "access_key",
        "ClientSecret",
        "secret",
        "RoomToken",
        "Password",
    ],
)
def test_what_stands_under_a_secret_name_is_hidden(name: str) -> None:
    assert masking.without_secrets({"Deep": [{name: "sesame"}]}) == {"Deep": [{name: "***"}]}


@pytest.mark.parametrize(
    "value", [{"RecordKey": "r", "AppId": "a", "Keys": [1]}, {"Token": ""}, {"Token": None}, [], "text", 7, None]
)
def test_other_values_stay(value: Any) -> None:
    assert masking.without_secrets(value) == value


def test_keys_are_taken_from_all_depths() -> None:
    value = {"a": [{"b": "rtmp://h/live/s1"}, 7, None], "c": ("http://h/x/y",)}

    assert masking.without_keys(value) == {"a": [{"b": "rtmp://h/live/***"}, 7, None], "c": ["http://h/x/***"]}


@pytest.mark.parametrize(
    ("path", "value", "shown"),
    [
        ("A", {"A": "x", "B": "x"}, {"A": "***", "B": "x"}),
        ("A.B", {"A": {"B": {"deep": "x"}, "C": 1}}, {"A": {"B": "***", "C": 1}}),
        ("A[].B", {"A": [{"B": "x"}, {"C": "x"}, 7]}, {"A": [{"B": "***"}, {"C": "x"}, 7]}),
        ("A[]", {"A": ("x", "y")}, {"A": ["***", "***"]}),
        ("A.B", {"A": "x"}, {"A": "x"}),
        ("A[].B", {"A": {"B": "x"}}, {"A": {"B": "x"}}),
        ("A", {"A": None}, {"A": None}),
        ("A", {"A": ""}, {"A": ""}),
        ("A", {}, {}),
        ("A", 7, 7),
    ],
)
def test_what_stands_at_a_path_is_hidden(path: str, value: Any, shown: Any) -> None:
    assert masking.at_path(value, path, masking.hidden) == shown


def test_a_keyed_url_that_is_none_is_hidden() -> None:
    shown = [masking.keyed_url(value) for value in ("rtmp://h/live/s1", "s1", 7)]

    assert shown == ["rtmp://h/live/***", "***", "***"]

"""Secrets are hidden from every reader, stream keys from viewers."""

import json
from time import thread_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.contract import masking
from tests.support.hypothesis_effort import effort


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtmp://push.example.com/live/s1?txSecret=abc", "rtmp://push.example.com/live/***"),
        ("rtmp://push.example.com/live/s-1?txSecret=abc", "rtmp://push.example.com/live/s-1?***"),
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
def test_a_stream_url_keeps_only_its_target(url: str, shown: str) -> None:
    assert masking.mask_stream_url(url) == shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://vod.example.com/b/a.mp4?sign=abc", "https://vod.example.com/b/a.mp4"),
        ("https://u:p@vod.example.com/b/a.mp4#x", "https://vod.example.com/b/a.mp4"),
        ("b/a.mp4?sign=abc", "b/a.mp4"),
    ],
)
def test_a_file_url_loses_its_query(url: str, shown: str) -> None:
    assert masking.mask_file_url(url) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cannot push to rtmp://p.example.com/live/s1?k=1, again", "cannot push to rtmp://p.example.com/live/*** again"),
        ('{"url":"rtmp://p.example.com/live/s1"}', '{"url":"rtmp://p.example.com/live/***"}'),
        ("nothing here: a/b", "nothing here: a/b"),
    ],
)
def test_urls_within_a_text_lose_their_keys(text: str, shown: str) -> None:
    assert masking.mask_text(text) == shown


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
def test_a_value_with_the_name_of_a_secret_is_hidden(name: str) -> None:
    assert masking.without_secrets({"Deep": [{name: "sesame"}]}) == {"Deep": [{name: "***"}]}


@pytest.mark.parametrize(
    "value", [{"RecordKey": "r", "AppId": "a", "Keys": [1]}, {"Token": ""}, {"Token": None}, [], "text", 7, None]
)
def test_other_values_stay(value: Any) -> None:
    assert masking.without_secrets(value) == value


def test_keys_are_masked_at_all_depths() -> None:
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
def test_a_value_at_a_path_is_hidden(path: str, value: Any, shown: Any) -> None:
    assert masking.mask_at_path(value, path, masking.hide_value) == shown


def test_a_url_value_that_is_no_url_is_hidden() -> None:
    shown = [masking.mask_url_value(value) for value in ("rtmp://h/live/s1", "s1", 7)]

    assert shown == ["rtmp://h/live/***", "***", "***"]


KEY = "sTrEaMkEy"
#: Notations of a url with a stream key: with or without a scheme, escaped, encoded, cut, the key in any place.
SHAPES = [
    "rtmp://h/live/{}",
    "rtmp://h/live/x?a={}",
    "rtmp://h/live/x?txSecret={}",
    "rtmp://h/live/{}?txSecret=",
    "rtmp://h/live/{}?txSecret={}&txTime=5f",
    "rtmp://h/live/x#{}",
    "rtmp://h/{}/stream",
    "rtmp://h/{}",
    "rtmp://{}.example.com/live/x",
    "rtmp://{}:pw@h/live/x",
    "rtmp://u:{}@h/live/x",
    "rtmp://u:p/{}@h/live/x",
    "RTMP://H.example.com/live/{}",
    r"rtmp:\/\/h\/live\/{}",
    r"rtmp:\\/\\/h\\/live\\/{}",
    r"rtmp:\u002f\u002fh\u002flive\u002f{}",
    "rtmp:\\\\h\\live\\{}",
    "rtmp:/h/live/{}",
    "rtmp%3A%2F%2Fh%2Flive%2F{}",
    "rtmp%3a%2f%2fh%2flive%2f{}%3FtxSecret%3D1",
    "rtmp%253A%252F%252Fh%252Flive%252F{}",
    "rtmp&#58;&#47;&#47;h&#47;live&#47;{}",
    "push.example.com/live/{}?txSecret=",
    "push.example.com/live/{}",
    "push.example.com:1935/live/{}",
    "10.0.0.1/live/{}",
    "h:1935/live/{}",
    "//host/live/{}",
    "/live/{}?txSecret=1",
    "live/{}?txSecret=1&txTime=2",
    "txSecret={}",
    "sign={}&t=1",
    "auth_key={}",
    "rtmp://h/live/my {}",
    "rtmp://h/live/ {}",
    "rtmp://h /live/{}",
    "rtmp://h/live/\t{}",
    "rtmp://h/live\n/{}",
    "srt://h:9000?streamid={}",
    "webrtc://h/live/{}",
    "{}@h/live",
    "rtmp://a/b/c,rtmp://h/live/{}",
    "rtmp://h/live/x rtmp://h2/live/{}",
    "url=rtmp://h/live/{}",
    "<rtmp://h/live/{}>",
    "(rtmp://h/live/{})",
]


@pytest.mark.parametrize("shape", SHAPES)
def test_no_key_is_seen_in_any_shape_of_a_url(shape: str) -> None:
    url = shape.replace("{}", KEY)

    assert KEY not in masking.mask_stream_url(url)
    assert KEY not in masking.mask_text(url)
    assert KEY not in masking.mask_text(f"cannot push to {url} now: refused")
    assert KEY not in masking.mask_text(f'{{"code": 3, "url": "{url}", "msg": "refused"}}')
    assert KEY not in masking.mask_file_name(url)
    assert KEY not in json.dumps(masking.without_keys({"message": url, "url": url}))
    assert KEY not in json.dumps(masking.mask_undocumented({"Extra": {"Deep": [url]}}, frozenset()))
    if "/" in url and "@h" not in url:  # an id may have an @ in it
        assert KEY not in masking.mask_identifier(url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtmp://cdn/live/show-42?txSecret=abc&txTime=5f", "rtmp://cdn/live/show-42?***"),
        ("rtmp://cdn.example.com:1935/a/b/show-42?auth_key=abc", "rtmp://cdn.example.com:1935/a/b/show-42?***"),
        (r"rtmp:\/\/cdn\/live\/show-42?volcSecret=abc", "rtmp://cdn/live/show-42?***"),
        ("rtmp://cdn/live/show-42?txSecret=show-42", "rtmp://cdn/live/***"),
        ("rtmp://cdn/live/show-42?vhost=a", "rtmp://cdn/live/***"),
        ("rtmp://cdn/live/show-42?txSecret=", "rtmp://cdn/live/***"),
        ("rtmp://a.rtmp.youtube.com/live2/abcd-efgh-ijkl-mnop", "rtmp://a.rtmp.youtube.com/live2/***"),
        ("push.example.com/live/x", "push.example.com/live/***"),
        ("rtmp://cdn/live/streamkey-0123456789?txSecret=abc", "rtmp://cdn/live/***"),
    ],
)
def test_only_the_key_is_masked_and_the_rest_of_the_url_stays(url: str, shown: str) -> None:
    assert masking.mask_stream_url(url) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cannot push to rtmp://p/live/s1 again", "cannot push to rtmp://p/live/*** again"),
        ("推流失败 rtmp://p/live/s1 超时", "推流失败 rtmp://p/live/*** 超时"),
        ("connect to 10.0.0.1:1935 refused (code=3)", "connect to 10.0.0.1:1935 refused (code=3)"),
        ("h264/aac is not supported, see text/plain", "h264/aac is not supported, see text/plain"),
        ("token: sEcReT is wrong", "token: is wrong"),
        ("txSecret=sEcReT&code=3", "txSecret=***&code=3"),
        ("InvalidParameter.TaskAlreadyExists: the task exists", "InvalidParameter.TaskAlreadyExists: the task exists"),
        ("no stream qXwErTyUiOpAsDfG there", "no stream *** there"),
        ("what came is no answer of HTTP/1.1 (errno=-110)", "what came is no answer of HTTP/1.1 (errno=-110)"),
        ("live/sTrEaMkEy gone: StreamNotFound/NoPublisher", "live/*** gone: StreamNotFound/NoPublisher"),
        ("RTMP handshake error -110 after 5s", "RTMP handshake error -110 after 5s"),
    ],
)
def test_plain_words_of_a_sentence_stay(text: str, shown: str) -> None:
    assert masking.mask_text(text) == shown


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("20030000_3000000001__UserId_s_MDAwMDAwMDAtMDAwMC00MDAw__UserId_e_main.mp4",) * 2,
        ("directory1/directory2/Rec1_Room1_1611736812853.mp4",) * 2,
        ("v02b69g10000eldb8vjafvmg",) * 2,
        ("https://u:p@vod.example.com/b/a.mp4?sign=abc", "https://vod.example.com/b/a.mp4"),
        ("b/a.m3u8?sign=abc", "b/a.m3u8"),
        ("rtmp://h/live/s1", "rtmp://h/live/***"),
    ],
)
def test_a_files_name_stays_unless_it_is_a_url(name: str, shown: str) -> None:
    assert masking.mask_file_name(name) == shown


_SECRETS = """
    Authorization Cookie Set-Cookie Pwd DbPwd Passphrase Jwt Sig AppSig Signature Sign AK SK ak X-Sk AppKey PrivateKey AESKey
    MasterKey X-Key aeskey streamKey auth_key Auth OAuth X-Auth-Info Credential ApiKey PASSWORD Secret_Id BearerToken
"""
_OTHERS = "AppId RoomId ObjectKey KeyFrame Author Design Monkeys Assignee Signal Passage Task Ask Skin Pinned"


@pytest.mark.parametrize("name", _SECRETS.split())
def test_members_with_names_of_secrets_are_hidden_from_every_reader(name: str) -> None:
    assert masking.without_secrets({"Open": {name: "sesame"}}) == {"Open": {name: "***"}}
    assert masking.mask_undocumented({"Open": {name: "sesame"}}, frozenset()) == {"Open": {name: "***"}}


@pytest.mark.parametrize("name", _OTHERS.split())
def test_names_that_only_look_similar_are_no_secrets(name: str) -> None:
    assert masking.without_secrets({name: "open"}) == {name: "open"}


@pytest.mark.parametrize(
    "value",
    [
        '{"AccessKey": "sEcReT"}',
        '[{"Deep": {"Cookie": "sEcReT"}}]',
        "Authorization: Bearer sEcReT",
        {"Key": "Authorization", "Value": "sEcReT"},
        {"name": "X-Token", "value": "sEcReT"},
    ],
)
def test_a_secret_within_a_text_or_beside_its_name_is_hidden_too(value: Any) -> None:
    assert "sEcReT" not in json.dumps(masking.without_secrets({"Headers": [value]}))


def test_undocumented_values_are_shown_only_if_plainly_harmless() -> None:
    given = {
        "Mode": "fast",
        "Number": 7,
        "On": True,
        "Odd": "dGhlIGtleQ9x",
        "Out": "rtmp://h/live/x",
        "Color": "#ff0000",
        "UserId": "q9X-7",
    }
    given["StreamId"] = "dGhlIGtleQ9x"

    shown = masking.mask_undocumented({"Open": given, "Named": "dGhlIGtleQ9x"}, frozenset({"Named"}))

    assert shown == {"Open": {**given, "Odd": "***", "StreamId": "***", "Out": "rtmp://h/live/***"}, "Named": "dGhlIGtleQ9x"}


#: Texts that made a regular expression backtrack, or would.
LONG = [
    "a{}://", "a://{}", "a/ {}", "%2F{}", "&#47;{}", "\\{}", "A{}=1", "a.b{}/", "=&{}", "@{}/", "-_{}?k", ":{}", "a:{}", "x{}key",
    "{[{}", "rtmp://h/live/{}", '{"a":{}', "a{} a{}", "1a{}", "***{}",
]  # fmt: skip


@pytest.mark.parametrize("shape", LONG)
def test_any_text_takes_milliseconds(shape: str) -> None:
    """A megabyte; before, 100,000 letters before `://` took 10 s. The bound is generous: most take less than 5 ms."""
    unit = shape.replace("{}", "")
    text = (unit * (1_000_000 // len(unit)))[:1_000_000] + shape.replace("{}", unit * 8)
    began_s = thread_time()
    for mask in (
        masking.mask_text,
        masking.mask_stream_url,
        masking.mask_identifier,
        masking.mask_file_name,
        masking.mask_file_url,
    ):
        mask(text)
    masking.without_keys({"a": text, "url": text, "id": text})
    masking.mask_undocumented({text: text}, frozenset())
    masking.without_secrets({text: text})
    list(masking.masked_paths({"a": text}))
    assert thread_time() - began_s < 1.0


def test_parameters_of_the_maximum_size_take_milliseconds() -> None:
    """250 KiB of short members, and of one long text."""
    params = {
        "Open": {f"m{number}": [f"name-{number}", {"n": number, "Token": "x"}] for number in range(6_000)},
        "Long": "a" * 250_000,
    }
    began_s = thread_time()
    masking.mask_undocumented(params, frozenset())
    masking.without_secrets(params)
    assert thread_time() - began_s < 1.0


@given(st.text(st.sampled_from("ab1:/\\?#&=%@.*-_ \n2fF3A<>\"'{}[],;+ü\u002f")) | st.text())
@effort(200)
def test_any_text_is_masked_and_masking_it_again_hides_no_less(value: str) -> None:
    for mask in (
        masking.mask_text,
        masking.mask_stream_url,
        masking.mask_identifier,
        masking.mask_file_name,
        masking.mask_file_url,
    ):
        assert isinstance(mask(mask(value)), str)
    masking.without_secrets({value: value})
    masking.mask_undocumented([value], frozenset())
    list(masking.masked_paths([value]))


@given(st.sampled_from(SHAPES), st.text(st.sampled_from("abc 1-.,;:(")), st.text(st.sampled_from("abc 1-.,;:)")))
@effort(200)
def test_no_key_is_seen_whatever_surrounds_the_url(shape: str, before: str, behind: str) -> None:
    url = shape.replace("{}", KEY)

    assert KEY not in masking.mask_text(f"{before} {url} {behind}")


@pytest.mark.parametrize(
    "value",
    [
        "***",
        " *** ",
        "rtmp://h/live/***",
        "rtmp://h/live/show-42?***",
        "rtmp://***.example.com/live/x",
        "rtmp://h/live/%2A%2A%2A",
        "rtmp://u:***@h/live/x",
        "https://h/***",
        "Authorization: ***",
        "token=***",
        '{"AccessKey":"***"}',
    ],
)
def test_our_own_mask_is_found_at_any_place(value: str) -> None:
    assert list(masking.masked_paths({"A": {"B": [0, value]}})) == ["A.B[1]"]


@pytest.mark.parametrize("value", ["*** live ***", "s***p", "a *** b", "**", "", "wait... ***!", "rtmp://h/live/a**b", 7, None])
def test_stars_in_a_text_are_no_mask(value: Any) -> None:
    assert list(masking.masked_paths({"Title": value})) == []


@pytest.mark.parametrize("shape", SHAPES)
def test_every_masked_url_is_recognised_as_masked(shape: str) -> None:
    """A viewer reads a masked url and sends it back."""
    assert list(masking.masked_paths([masking.mask_stream_url(shape.replace("{}", KEY))])) == ["[0]"]


@pytest.mark.parametrize("time", ["2026-01-21T15:32:04.123Z", "2023-03-21T15:32:04+08:00", "2026-01-21", "15:32:04"])
def test_times_stay_readable(time: str) -> None:
    entry = {"at": time, "note": f"ended at {time}, by the host"}
    assert masking.without_keys(entry) == entry

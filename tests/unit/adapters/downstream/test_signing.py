"""Webhooks are signed by the Standard Webhooks specification: its own library verifies them."""

import base64

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from adapters.clock import now_ms
from adapters.downstream.signing import new_secret, signature_headers

BODY = '{"who": "Zoë 你好 🎬"}'.encode()


def test_a_secret_is_32_random_bytes_in_base64():
    secrets = {new_secret() for _ in range(10)}
    assert len(secrets) == 10
    assert {len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) for secret in secrets} == {32}


def test_headers_are_those_of_the_specification():
    """The example of the specification."""
    secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'
    assert signature_headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330_999, body, [secret]) == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_the_specifications_library_verifies_them():
    secret = new_secret()
    assert Webhook(secret).verify(BODY, signature_headers("e1", now_ms(), BODY, [secret])) == {"who": "Zoë 你好 🎬"}


def test_during_a_rotation_both_secrets_verify_and_no_other_does():
    old, new = new_secret(), new_secret()
    signed = signature_headers("e1", now_ms(), BODY, [new, old])
    assert signed["webhook-signature"].count("v1,") == 2
    for secret in (old, new):
        Webhook(secret).verify(BODY, signed)
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(BODY, signed)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp"])
def test_id_and_time_are_signed_too(name: str):
    secret, now = new_secret(), now_ms()
    other = signature_headers("e2", now - 1000, BODY, [secret])
    with pytest.raises(WebhookVerificationError, match="No matching signature"):
        Webhook(secret).verify(BODY, signature_headers("e1", now, BODY, [secret]) | {name: other[name]})

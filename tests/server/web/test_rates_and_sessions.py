"""Rates by address, signed cookies, and the tokens of forms."""

from __future__ import annotations

import pytest

from c2seg.errors import InputError
from c2seg.server.web.rates import Rates, address_key
from c2seg.server.web.sessions import Signer
from c2seg.server.web.settings import WebSettings


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_minute_has_so_many_uses():
    clock = Clock()
    rates = Rates(6, clock=clock)
    assert [rates.use("a") for _ in range(7)] == [0] * 6 + [10]
    assert rates.use("b") == 0
    clock.now += 10
    assert (rates.wait_s("a"), rates.use("a"), rates.use("a")) == (0, 0, 10)
    clock.now += 3600
    assert [rates.use("a") for _ in range(7)][-1] == 10


def test_keys_are_bounded():
    rates = Rates(1, most_keys=10, clock=Clock())
    for number in range(100):
        rates.use(str(number))
    assert len(rates._buckets) == 10


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("10.1.2.3", "10.1.2.3"), ("2001:db8::1", "2001:db8::/64"), ("2001:db8:0:0:ffff::1", "2001:db8::/64"),
        ("::ffff:10.0.0.1", "10.0.0.1"), ("nonsense", "unknown"), ("", "unknown"),
    ],
)  # fmt: skip
def test_senders_are_addresses_or_networks(address, key):
    assert address_key(address) == key


def test_a_cookie_is_read_as_it_was_made():
    signer = Signer(b"s" * 32, session_s=100, clock=Clock())
    session = signer.start("7")
    assert signer.session(signer.cookie(session)) == session
    assert signer.session(signer.cookie(signer.start())).token_id is None


@pytest.mark.parametrize("cookie", [None, "", ".", "a.b.c.d.e", "1.x.99999999999.7.", "é.ü.1.2.3", "\ud800.x"])
def test_cookies_that_are_not_ours(cookie):
    assert Signer(b"s" * 32, session_s=100).session(cookie) is None


def test_changed_old_and_foreign_cookies_are_void():
    clock = Clock()
    signer = Signer(b"s" * 32, session_s=100, clock=clock)
    cookie = signer.cookie(signer.start("7"))
    assert signer.session(cookie.replace(".7.", ".8.")) is None
    assert Signer(b"t" * 32, session_s=100, clock=clock).session(cookie) is None
    clock.now += 100
    assert signer.session(cookie) is None


def test_form_tokens_belong_to_one_session():
    signer = Signer(b"s" * 32, session_s=100)
    one, two = signer.start("7"), signer.start("7")
    assert signer.is_form_token(one, signer.form_token(one))
    assert not signer.is_form_token(two, signer.form_token(one))
    assert not signer.is_form_token(one, "")
    assert not signer.is_form_token(one, "é")
    cookie_signature = signer.cookie(one).rpartition(".")[2]
    assert not signer.is_form_token(one, cookie_signature)


def test_public_addresses():
    assert WebSettings(public_url="https://c.example.org").secure
    assert not WebSettings(public_url="http://c.example.org").secure
    assert WebSettings(public_url="HTTPS://C.example.org:8443").origin == "https://c.example.org:8443"
    for wrong in ("c.example.org", "ftp://c.example.org", "https://c.example.org/path", "https://"):
        with pytest.raises(InputError, match="public_url"):
            WebSettings(public_url=wrong)

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.clock import ManualClock
from device.web.sessions import LIFE_S, Sessions
from device.web.token import GuessBrake, TokenCheck, read_token
from smartbin.errors import ConfigError


def test_the_first_line_is_the_token(tmp_path):
    file = tmp_path / "token"
    file.write_text("0123456789abcdef  \nand a remark\n")
    file.chmod(0o600)
    assert read_token(file) == "0123456789abcdef"


@pytest.mark.parametrize(
    "content", [b"", b"short\n", b"\xff\xfe" * 20, None], ids=["empty", "short", "binary", "absent"]
)
def test_a_token_that_is_no_good_is_refused(tmp_path, content):
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match="token") as caught:
        read_token(file)
    assert "openssl rand" in str(caught.value)


def test_a_token_that_others_can_read_is_said_aloud(tmp_path, caplog):
    file = tmp_path / "token"
    file.write_text("0123456789abcdef")
    file.chmod(0o644)
    with caplog.at_level(logging.WARNING):
        read_token(file)
    assert "chmod 600" in caplog.text


@given(st.text(), st.text())
def test_only_the_token_fits(token, given_):
    assert TokenCheck(token).fits(given_) == (token == given_)


def test_without_a_token_all_is_right():
    assert not TokenCheck(None).wanted
    assert TokenCheck(None).fits("")


def test_five_wrong_tries_in_a_minute_are_enough(caplog):
    clock = ManualClock()
    brake = GuessBrake(clock.now_s)
    for _ in range(4):
        brake.failed("10.0.0.1")
    assert brake.wait_s("10.0.0.1") == 0
    brake.failed("10.0.0.1")
    assert brake.wait_s("10.0.0.1") == pytest.approx(60)
    assert "too many wrong tokens from 10.0.0.1" in caplog.text
    assert brake.wait_s("10.0.0.2") == 0
    clock.advance(60)
    assert brake.wait_s("10.0.0.1") == 0


def test_a_right_try_forgives_the_slips():
    brake = GuessBrake(ManualClock().now_s)
    for _ in range(5):
        brake.failed("10.0.0.1")
    brake.succeeded("10.0.0.1")
    assert brake.wait_s("10.0.0.1") == 0


def test_an_ipv6_neighbour_cannot_change_his_address_to_go_on():
    brake = GuessBrake(ManualClock().now_s)
    for number in range(5):
        brake.failed(f"2001:db8::{number}")
    assert brake.wait_s("2001:db8::ffff") > 0
    assert brake.wait_s("2001:db8:0:1::1") == 0


def test_the_brake_remembers_a_bounded_number_of_addresses():
    brake = GuessBrake(ManualClock().now_s)
    for number in range(3000):
        brake.failed(f"10.0.{number // 250}.{number % 250}")
    assert len(brake._failed_s) == 1024


def test_a_session_ends_when_nobody_comes_for_a_month():
    clock = ManualClock()
    sessions = Sessions(clock.now_s)
    session = sessions.begin()
    clock.advance(LIFE_S - 1)
    assert sessions.find(session.id) is session
    clock.advance(LIFE_S + 1)
    assert sessions.find(session.id) is None


def test_strangers_do_not_push_out_who_has_signed_in():
    sessions = Sessions(ManualClock().now_s)
    owner = sessions.begin(signed_in=True)
    for _ in range(1000):
        sessions.begin()
    assert sessions.find(owner.id) is owner


def test_a_proof_is_of_one_session():
    sessions = Sessions(ManualClock().now_s)
    one, other = sessions.begin(), sessions.begin()
    assert sessions.proves(one, sessions.proof(one))
    assert not sessions.proves(other, sessions.proof(one))
    assert not sessions.proves(one, None)

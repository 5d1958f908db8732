"""What goes next on a lane, and when again."""

from __future__ import annotations

from device.outbox import LAST_TRIES, MAX_PATIENCE, Journeys

A, B = b"session-a", b"session-b"


def test_the_open_record_goes_before_a_session_s_first_envelope_only() -> None:
    journeys = Journeys(resend_s=30)
    assert journeys.needs_introduction(1, A)
    journeys.sent(1, A, 0)
    assert not journeys.needs_introduction(2, A)
    assert journeys.needs_introduction(2, B)


def test_an_envelope_is_overdue_when_its_receipt_is_late_and_not_before() -> None:
    journeys = Journeys(resend_s=30)
    journeys.sent(1, A, 0)
    journeys.sent(2, A, 10)
    assert journeys.overdue(29.9) is None and journeys.wait_s(29.0) == 1.0
    assert journeys.overdue(30) == 1
    journeys.sent(1, A, 30)
    assert journeys.overdue(39.9) is None and journeys.overdue(40) == 2


def test_an_engine_that_is_away_for_long_is_asked_ever_more_rarely() -> None:
    journeys, sent_s = Journeys(resend_s=30), [0.0]
    journeys.sent(1, A, 0)
    for now_s in range(1, 4 * 3600):
        if journeys.overdue(now_s) == 1:
            journeys.sent(1, A, now_s)
            sent_s.append(now_s)
    assert sent_s[:5] == [0, 30, 90, 210, 450]
    assert sent_s[-1] - sent_s[-2] == 30 * MAX_PATIENCE


def test_a_receipt_ends_the_waiting() -> None:
    journeys = Journeys(resend_s=30)
    journeys.sent(1, A, 0)
    journeys.gone([1])
    assert journeys.overdue(1e9) is None


def test_after_a_reconnection_all_go_again_and_known_sessions_are_not_introduced_again() -> None:
    journeys = Journeys(resend_s=30)
    journeys.sent(1, A, 0)
    journeys.sent(2, B, 0)
    journeys.receipted.add(A)
    journeys.restart()
    assert journeys.cursor == 0 and journeys.overdue(1e9) is None
    assert not journeys.needs_introduction(1, A)
    assert journeys.needs_introduction(2, B)


def test_an_engine_that_forgot_a_session_is_told_again_in_the_end() -> None:
    journeys = Journeys(resend_s=30)
    journeys.receipted.add(A)
    introduced = []
    for journey in range(2 * LAST_TRIES + 1):
        introduced.append(journeys.needs_introduction(1, A))
        journeys.sent(1, A, 30 * journey)
    assert introduced.count(True) == 2

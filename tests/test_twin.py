"""The fold: what the twin makes of readings, silence, refusals and late truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from twin_engine import codec
from twin_engine.channel_state import under
from twin_engine.devices import MAX_CHANNELS
from twin_engine.messages import (
    REVISED,
    Assigned,
    ChannelReadings,
    CommandResult,
    Message,
    Output,
    Provenance,
    Readings,
    Refused,
    Samples,
    Tick,
)
from twin_engine.model import Generator
from twin_engine.rehearse import rehearse
from twin_engine.shadow import Shadows
from twin_engine.status import status
from twin_engine.twin import Twin, fold

T0 = 1_760_000_000_000_000  # µs
GSR = "gsr_uS"
EMG = "emg_activity_mV.zyg"


def at(seconds: float) -> int:
    return T0 + round(seconds * 1e6)


def gsr(seconds: np.ndarray) -> np.ndarray:
    return 4.0 + 0.2 * np.sin(seconds / 7.0)


def frame(start_s: float, end_s: float, channels: tuple[str, ...] = (GSR, EMG), live: bool = True) -> Readings:
    """What a device sends for [start, end): 4 Hz conductance, 10 Hz muscle activity."""
    blocks = []
    for name in channels:
        period = 0.25 if name == GSR else 0.1
        seconds = np.arange(round(start_s / period), round(end_s / period)) * period
        values = gsr(seconds) if name == GSR else 0.0003 + 0.0001 * np.sin(seconds)
        blocks.append(ChannelReadings(name, np.round(T0 + seconds * 1e6).astype(np.int64), values))
    return Readings("dev", tuple(blocks), at(end_s) // 1000, live, "sensor")


class Story:
    """A twin and all it made, channel by channel."""

    def __init__(self, generator: Generator) -> None:
        self.twin, self.generator = Twin("p1"), generator
        self.samples: list[Samples] = []
        self.revisions: list[Samples] = []
        self.events: list[str] = []
        self.last = Output()

    def tell(self, message: Message) -> Output:
        self.twin, made = fold(self.twin, message, self.generator)
        for twin, told in rehearse({"p1": self.twin}, self.generator).values():
            self.twin = twin
            self.events += [e.kind for e in told.events]
        self.samples += made.samples
        self.revisions += made.revisions
        self.events += [e.kind for e in made.events]
        return made

    def live(self, start_s: float, end_s: float, channels: tuple[str, ...] = (GSR, EMG)) -> None:
        """Two-second frames arriving in time, with ticks between them."""
        for second in np.arange(start_s, end_s, 2.0):
            if channels:
                self.tell(frame(second, second + 2.0, channels))
            for quarter in range(8):
                self.tell(Tick(at(second + 2.0 + quarter / 4)))

    def shown(self, channel: str, provenance: Provenance) -> np.ndarray:
        """Times (s) at which samples of that provenance were shown live."""
        times = [s.times_us[s.provenance == provenance] for s in self.samples if s.channel == channel]
        return (np.concatenate(times) - T0) / 1e6 if times else np.empty(0)


@pytest.fixture
def story(generator: Generator) -> Story:
    return Story(generator)


def test_readings_are_shown_as_they_were_measured(story: Story) -> None:
    story.live(0, 20)
    assert len(story.shown(GSR, Provenance.MEASURED)) == 80
    assert not len(story.shown(GSR, Provenance.SYNTHESISED))
    measured = next(s for s in story.samples if s.channel == GSR)
    assert measured.values.tolist() == measured.lower.tolist() == measured.upper.tolist()
    assert (measured.confidence == 1).all()


def test_a_silent_channel_is_synthesised_and_the_others_go_on(story: Story) -> None:
    story.live(0, 40)
    story.live(40, 60, (GSR,))
    made = story.shown(EMG, Provenance.SYNTHESISED)
    assert made[0] == pytest.approx(40.0), "the first due time after the last reading, 39.9 s"
    assert np.diff(made) == pytest.approx(0.1), "at the channel's own rate, without a break"
    assert not len(story.shown(GSR, Provenance.SYNTHESISED))
    assert story.events.count("gap-opened") == 1


def test_a_gap_opens_only_after_two_frame_intervals(story: Story) -> None:
    story.live(0, 20)
    story.tell(Tick(at(23.8)))
    assert not len(story.shown(EMG, Provenance.SYNTHESISED))
    story.tell(Tick(at(24.2)))
    assert len(story.shown(EMG, Provenance.SYNTHESISED))


def test_confidence_falls_as_the_gap_grows_until_values_are_withheld(story: Story) -> None:
    story.live(0, 40)
    story.live(40, 140, ())
    confidence = np.concatenate([s.confidence for s in story.samples if s.channel == EMG and s.method])
    assert (np.diff(confidence) <= 1e-12).all()
    assert confidence[0] > confidence[len(confidence) // 2]
    assert len(story.shown(EMG, Provenance.WITHHELD)), "past the horizon of 60 s there is no honest value"
    withheld = [s for s in story.samples if s.channel == EMG and (s.provenance == Provenance.WITHHELD).all()]
    assert all(np.isnan(s.values).all() and not s.confidence.any() for s in withheld)
    assert "withheld" in story.events


def test_when_the_sensor_returns_the_gap_is_revised_from_both_sides(story: Story) -> None:
    story.live(0, 40)
    story.live(40, 50, (EMG,))
    live = {t: v for s in story.samples if s.channel == GSR for t, v in zip(s.times_us, s.values, strict=True)}
    made = story.tell(frame(50, 52))
    revision = next(s for s in made.revisions if s.channel == GSR)
    assert ((revision.provenance & REVISED) > 0).all()
    inside = (revision.times_us > at(39.75)) & (revision.times_us < at(50))
    seconds = (revision.times_us[inside] - T0) / 1e6
    error = np.abs(revision.values[inside] - gsr(seconds)).mean()
    error_live = np.abs([live[t] - gsr((t - T0) / 1e6) for t in revision.times_us[inside] if t in live]).mean()
    assert error < error_live, "knowing the far side must help"
    assert story.events[-1] == "gap-closed"


def test_the_middle_of_a_gap_too_long_for_either_side_stays_withheld_when_revised(story: Story) -> None:
    story.live(0, 40)
    story.live(40, 240, ())
    made = story.tell(frame(240, 242))
    revision = next(s for s in made.revisions if s.channel == EMG)
    middle = revision.provenance[(revision.times_us > at(110)) & (revision.times_us < at(170))]
    assert len(middle)
    assert (middle == (Provenance.WITHHELD | REVISED)).all()
    ends = revision.provenance[revision.times_us < at(50)]
    assert (ends == (Provenance.SYNTHESISED | REVISED)).all()


def test_a_late_frame_of_the_backfill_lane_replaces_estimates_and_is_never_the_present(story: Story) -> None:
    story.live(0, 20)
    story.live(20, 40, ())
    before = story.twin.devices["dev"].last_frame_ms
    made = story.tell(frame(20, 30, live=False))
    assert not made.samples
    late = next(s for s in made.revisions if s.channel == GSR)
    assert (late.provenance == (Provenance.MEASURED | REVISED)).all()
    assert len(late) == 40
    assert story.twin.devices["dev"].last_frame_ms == before


def test_a_hole_inside_a_frame_is_filled_marked_and_revised_at_once(story: Story) -> None:
    story.live(0, 20)
    whole = frame(20, 22)
    values = whole.channels[0].values.copy()
    values[2:5] = np.nan
    made = story.tell(Readings("dev", (ChannelReadings(GSR, whole.channels[0].times_us, values),), at(22) // 1000))
    marks = np.concatenate([s.provenance for s in made.samples])
    assert (marks == Provenance.SYNTHESISED).sum() == 3
    assert (marks == Provenance.MEASURED).sum() == 5
    assert sum(len(s) for s in made.revisions) == 3


def test_an_implausible_reading_stays_visible_and_is_marked_with_the_twins_own_estimate(story: Story) -> None:
    story.live(0, 20)
    block = ChannelReadings(GSR, np.array([at(20), at(20.25)], np.int64), np.array([4.1, -7.0]))
    made = story.tell(Readings("dev", (block,), at(22) // 1000))
    doubtful = next(s for s in made.samples if (s.provenance == Provenance.QUARANTINED).any())
    assert doubtful.values.tolist() == [-7.0]
    assert 3.0 < doubtful.lower[0] < doubtful.upper[0] < 5.0
    assert doubtful.confidence[0] == 0.0


def test_a_heart_rate_of_nought_raises_an_alarm_and_is_never_revised_away(story: Story) -> None:
    seconds = np.arange(0, 40)
    rates = np.full(40, 72.0)
    for start in range(0, 40, 2):
        block = ChannelReadings("hr_bpm", T0 + seconds[start : start + 2] * 10**6, rates[start : start + 2])
        story.tell(Readings("dev", (block,), at(start + 2) // 1000))
        story.tell(Tick(at(start + 2)))
    for start in range(40, 60, 2):
        times = T0 + np.array([start, start + 1], np.int64) * 10**6
        story.tell(Readings("dev", (ChannelReadings("hr_bpm", times, np.zeros(2)),), at(start + 2) // 1000))
        for quarter in range(8):
            story.tell(Tick(at(start + 2 + quarter / 4)))
    assert story.events.count("quarantined") == 1
    assert "gap-opened" not in story.events, "readings do come"
    back = ChannelReadings("hr_bpm", np.array([at(60), at(61)], np.int64), np.array([71.0, 72.0]))
    made = story.tell(Readings("dev", (back,), at(62) // 1000))
    assert not any(((s.times_us >= at(40)) & (s.times_us < at(60))).any() for s in made.revisions)
    late = ChannelReadings("hr_bpm", np.array([at(61.5)], np.int64), np.array([0.0]))
    made = story.tell(Readings("dev", (late,), at(62) // 1000, live=False))
    assert (made.revisions[0].provenance == (Provenance.QUARANTINED | REVISED)).all()


def test_a_device_whose_clock_is_four_seconds_slow_is_not_taken_for_silent(story: Story) -> None:
    for second in np.arange(0.0, 60.0, 2.0):
        story.tell(Tick(at(second + 6.0)))
        story.tell(frame(second, second + 2.0))
        for quarter in range(8):
            story.tell(Tick(at(second + 6.0 + quarter / 4)))
    assert not len(story.shown(GSR, Provenance.SYNTHESISED))
    assert story.twin.view_lag_s > 8, "the page waits for it"


def test_signs_of_life_without_readings_do_not_slow_the_devices_beat(story: Story) -> None:
    story.live(0, 20)
    for second in (30, 40, 50):
        story.tell(Readings("dev", (), at(second) // 1000))
    assert story.twin.devices["dev"].frame_interval_us == 2_000_000


def test_a_device_that_invents_channels_gets_no_more_than_a_fair_share(story: Story) -> None:
    blocks = tuple(
        ChannelReadings(f"hr_bpm.x{i}", np.array([at(0)], np.int64), np.array([70.0])) for i in range(MAX_CHANNELS + 9)
    )
    story.tell(Readings("dev", blocks, at(1) // 1000))
    assert len(story.twin.channels) == MAX_CHANNELS


def test_a_reading_of_years_ago_costs_no_more_than_a_long_gap(story: Story) -> None:
    old = ChannelReadings(GSR, np.array([1], np.int64), np.array([4.0]))
    story.tell(Readings("dev", (old,), 1))
    story.live(0, 4)
    assert len(story.shown(GSR, Provenance.MEASURED))


def test_an_alarming_but_possible_value_is_never_quarantined(story: Story) -> None:
    story.live(0, 20)
    block = ChannelReadings("hr_bpm", np.arange(at(20), at(22), 10**6, dtype=np.int64), np.array([30.0, 190.0]))
    made = story.tell(Readings("dev", (block,), at(22) // 1000))
    assert all((s.provenance == Provenance.MEASURED).all() for s in made.samples)


def test_a_refusal_tells_its_story_and_changes_no_value(story: Story) -> None:
    story.live(0, 20)
    channels = story.twin.channels
    story.tell(Refused("dev", "forged", "the seal does not match", at(20) // 1000))
    assert story.twin.channels is channels
    assert story.twin.refused == 1
    assert story.events[-2:] == ["refused", "alarm-raised"]


def test_what_the_device_confirms_is_remembered_and_what_it_refuses_is_not(story: Story) -> None:
    story.tell(Assigned("dev", "p1", 0))
    story.tell(CommandResult("dev", "sensor", {"connected": False, "channels": [EMG]}, 404, 1))
    assert status(story.twin)["devices"]["dev"]["unplugged"] == []
    story.tell(CommandResult("dev", "sensor", {"connected": False, "channels": [EMG]}, 200, 2))
    assert status(story.twin)["devices"]["dev"]["unplugged"] == [EMG]
    story.tell(CommandResult("dev", "sensor", {"connected": True, "channels": [EMG]}, 200, 3))
    assert status(story.twin)["devices"]["dev"]["unplugged"] == []


def test_a_device_that_has_booted_has_every_sensor_plugged_in_again(story: Story) -> None:
    def frame(second: float, boot: int) -> Readings:
        block = ChannelReadings(EMG, np.array([at(second)], np.int64), np.array([0.1]))
        return Readings("dev", (block,), at(second) // 1000, boot=boot)

    story.tell(frame(0, 7))
    story.tell(CommandResult("dev", "sensor", {"connected": False, "channels": [EMG]}, 200, 2))
    story.tell(frame(1, 7))  # sealed before the answer, come after it
    assert status(story.twin)["devices"]["dev"]["unplugged"] == [EMG]
    story.tell(frame(2, 8))
    assert status(story.twin)["devices"]["dev"]["unplugged"] == []


def test_an_unknown_sensor_is_named_once_and_left_out(story: Story) -> None:
    block = ChannelReadings("blood_gas", np.array([at(0)], np.int64), np.array([1.0]))
    story.tell(Readings("dev", (block,), at(1) // 1000))
    assert story.events == ["device"]
    assert not story.twin.channels


def test_a_clock_that_steps_back_changes_nothing(story: Story) -> None:
    story.live(0, 10)
    before = story.twin
    assert story.tell(Tick(at(1))) == Output()
    assert story.twin is before


def test_the_same_messages_make_the_same_twin_bit_for_bit(generator: Generator) -> None:
    one, two = Story(generator), Story(generator)
    for story in (one, two):
        story.live(0, 30)
        story.live(30, 44, (GSR,))
        story.live(44, 50)
    assert codec.dump(one.twin) == codec.dump(two.twin)


def test_a_twin_put_to_rest_and_woken_goes_on_as_if_nothing_had_happened(generator: Generator) -> None:
    straight, broken = Story(generator), Story(generator)
    for story in (straight, broken):
        story.live(0, 30)
        story.live(30, 38, (GSR,))
    broken.twin = codec.load(Twin, codec.dump(broken.twin))
    for story in (straight, broken):
        story.live(38, 50)
    assert codec.dump(straight.twin) == codec.dump(broken.twin)


def test_nothing_stored_by_another_program_is_taken_for_a_twin() -> None:
    with pytest.raises(ValueError, match="expected a stored Twin"):
        codec.load(Twin, b"\x83\x01\x02\x03")


def test_shadow_forecasts_are_scored_while_the_sensor_lives_and_not_during_a_gap(story: Story) -> None:
    story.live(0, 100)
    alive = story.twin.channels[EMG].learnt.calibration.scored
    assert alive >= 30
    assert not story.twin.channels[EMG].learnt.calibration.learning
    story.live(100, 120, (GSR,))
    assert story.twin.channels[EMG].learnt.calibration.scored == alive


def test_a_closed_gap_is_revised_at_once_and_again_when_its_far_side_is_known(story: Story) -> None:
    story.live(0, 60)
    story.live(60, 70, (EMG,))
    before = len(story.revisions)
    story.live(70, 100)
    healed = [samples for samples in story.revisions[before:] if samples.channel == GSR]
    assert len(healed) >= 2
    assert all("bridge" not in samples.method for samples in healed)  # the learned revision made them
    seconds = (healed[0].times_us - T0) / 1e6
    assert (seconds.min(), seconds.max()) == pytest.approx((60.0, 69.75), abs=0.26)
    truth = gsr((healed[0].times_us - T0) / 1e6)
    shown = np.concatenate(
        [s.values[s.provenance == Provenance.SYNTHESISED] for s in story.samples if s.channel == GSR]
    )
    live = np.abs(shown - gsr(story.shown(GSR, Provenance.SYNTHESISED))).mean()
    assert all(np.abs(samples.values - truth).mean() < 0.8 * live for samples in healed)
    assert story.twin.channels[GSR].wound is None


def test_from_a_sensor_that_is_not_good_nothing_is_learnt_and_people_are_told(story: Story) -> None:
    story.live(0, 60, (GSR,))
    scored = story.twin.channels[GSR].learnt.calibration.scored
    for second in np.arange(60, 120, 2.0):  # the electrode falls off: no current, but readings do come
        times = np.round(T0 + (second + np.arange(8) * 0.25) * 1e6).astype(np.int64)
        block = ChannelReadings(GSR, times, np.full(8, 0.001) + 0.001 * np.arange(8) % 0.003)
        story.tell(Readings("dev", (block,), at(second + 2.0) // 1000, True, "sensor"))
        story.tell(Tick(at(second + 2.25)))
    state = story.twin.channels[GSR]
    assert state.quality.verdict == "bad"
    assert "quality" in story.events
    assert state.learnt.calibration.scored <= scored + 4  # those that fell due before it was noticed


def test_twins_rehearsed_together_promise_what_they_would_alone(story: Story) -> None:
    story.live(0, 40)
    due = replace(story.twin, channels={
        name: replace(state, shadows=Shadows.none()) for name, state in story.twin.channels.items()
    })  # fmt: skip
    together = rehearse({"a": due, "b": due}, story.generator)
    alone = rehearse({"a": due}, story.generator)["a"][0]
    for name, state in alone.channels.items():
        for twin, _ in together.values():
            assert np.allclose(twin.channels[name].shadows.claims, state.shadows.claims, rtol=1e-4, atol=1e-7)
    assert rehearse({"a": alone}, story.generator) == {}  # nobody's turn any more


def test_under_another_model_what_was_promised_and_weighed_begins_anew(story: Story) -> None:
    story.live(0, 60)
    state = story.twin.channels[GSR]

    class Other:
        version = "other"
        population_weights = story.generator.population_weights

    renewed = under(state, Other())  # type: ignore[arg-type]
    assert not len(renewed.shadows.due_us)
    assert not renewed.learnt.personal.seen.any()
    assert renewed.learnt.calibration is state.learnt.calibration
    assert under(state, story.generator) is state


def test_a_long_gap_soon_after_a_short_one_is_closed_without_a_fault(story: Story) -> None:
    story.live(0, 60, (GSR,))
    story.live(60, 66, ())
    story.live(66, 70, (GSR,))  # the wound is still open
    for second in range(70, 440, 10):
        story.tell(Tick(at(second)))
    story.live(440, 450, (GSR,))
    assert story.twin.channels[GSR].shown.provenance == Provenance.MEASURED  # type: ignore[union-attr]


def test_a_few_missing_readings_within_one_step_of_the_models_grid_are_bridged(story: Story) -> None:
    for second in np.arange(0, 40, 2.0):
        times = T0 + np.round((second + np.arange(8) * 0.25) * 1e6).astype(np.int64)
        keep = np.arange(8) != 3 if second == 30 else np.ones(8, bool)
        block = ChannelReadings("skin_temp_C", times[keep], (33.0 + 0.01 * np.arange(8))[keep])
        story.tell(Readings("dev", (block,), at(second + 2.0) // 1000, True, "sensor"))
    assert any(len(samples) == 1 for samples in story.revisions if samples.channel == "skin_temp_C")


def test_readings_that_come_late_are_not_healed_over(story: Story) -> None:
    story.live(0, 60)
    story.live(60, 70, (EMG,))
    story.live(70, 72)
    story.tell(frame(60, 70, (GSR,), live=False))  # the true readings, from the device's spool
    before = len(story.revisions)
    story.live(72, 110)
    inside = [s for s in story.revisions[before:] if s.channel == GSR and s.times_us[0] < at(70)]
    assert not inside


def test_late_readings_out_of_range_open_no_gap_on_a_living_sensor(story: Story) -> None:
    story.live(0, 20, (GSR,))
    times = T0 + np.round(np.arange(5, 8, 0.25) * 1e6).astype(np.int64)
    block = ChannelReadings(GSR, times + 1000, np.full(len(times), 500.0))
    story.tell(Readings("dev", (block,), at(8) // 1000, False, "sensor"))
    assert story.twin.channels[GSR].plan is None

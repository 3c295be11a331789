"""RetryPolicy, plateaus and bests, as data that outlives a kill."""

import json

from training.run_state import NO_SCORE, RunState


def test_the_best_is_the_higher_balanced_accuracy_and_among_equals_the_lower_loss():
    state = RunState()

    better = [state.record(score) for score in [(0.5, -1.0), (0.5, -1.2), (0.5, -0.9), (0.4, -0.1)]]

    assert better == [True, False, True, False]
    assert (state.best, state.best_at) == ((0.5, -0.9), 3)


def test_where_the_last_epoch_is_kept_a_worse_one_takes_the_place_of_a_better():
    state = RunState()
    state.record((0.9, -0.5), keep=True)

    assert state.record((0.4, -0.9), keep=True)
    assert (state.best, state.best_at) == ((0.4, -0.9), 2)


def test_patience_ends_after_epochs_without_a_better_score_in_the_phase():
    state = RunState()
    state.record((0.5, -1.0))
    for _ in range(2):
        state.record((0.4, -1.0))
        assert not state.is_out_of_patience(3)
    state.record((0.4, -1.0))

    assert state.is_out_of_patience(3)
    assert not state.is_out_of_patience(0)


def test_a_plateau_is_reported_once_and_waited_for_anew():
    state = RunState()
    state.record((0.5, -1.0))

    reported = []
    for _ in range(6):
        state.record((0.4, -1.0))
        reported.append(state.is_on_plateau(3))

    assert reported == [False, False, True, False, False, True]


def test_a_phase_of_the_same_image_size_must_beat_the_best_of_the_phase_before():
    state = RunState()
    state.record((0.8, -1.0))
    state.end_phase()
    state.begin_phase(comparable=True)

    assert not state.record((0.7, -1.0))
    assert state.waited == 0, "patience counts within the phase"
    assert state.best == (0.8, -1.0)


def test_scores_at_another_image_size_do_not_count():
    state = RunState()
    state.record((0.8, -1.0))
    state.end_phase()
    state.begin_phase(comparable=False)

    assert state.best == NO_SCORE
    assert state.record((0.3, -1.0))
    assert (state.phase, state.epoch, state.epochs_done, state.best_at) == (1, 1, 2, 2)


def test_a_state_read_back_is_the_state_that_was_written():
    state = RunState()
    for score in [(0.5, -1.0), (0.4, -1.0), (0.45, -1.0)]:
        state.record(score)
    state.low_focus_checks = 2

    read_back = RunState.from_json(json.loads(json.dumps(state.to_json())))

    assert read_back == state
    assert (read_back.waited, read_back.waited_at_rate) == (2, 2)

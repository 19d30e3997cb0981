//! What a real cluster reported, scenario by scenario, against what the Task must end as.

mod cases;
mod expected;
mod replay;

use expected::{EXPECTED, Expected};
use replay::{Recording, Replay};
use taskplane_domain::task::{StateKind, WaitReason};

/// A number that looks like any other, for a seed.
fn mixed(seed: u64) -> u64 {
    let mut state = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

#[test]
fn there_is_an_expectation_for_every_recording_and_a_recording_for_every_expectation() {
    let mut expected: Vec<_> = EXPECTED.iter().map(|expected| expected.name.to_owned()).collect();
    expected.sort_unstable();
    assert_eq!(Recording::names(), expected);
    assert_eq!(expected.len(), 31);
}

#[test]
fn a_recording_replayed_whole_ends_as_it_must() {
    for expected in EXPECTED {
        let recording = Recording::read(expected.name);
        let mut replay = Replay::new(&recording, expected);
        for index in 0..recording.len() {
            replay.reaches(index);
            replay.sees(index);
        }
        replay.ends();
        expected.holds(&replay, "whole");
        assert_eq!(replay.waits, expected.waits, "{}", expected.name);
        assert_eq!(replay.restarted(), expected.restarted, "{}", expected.name);
    }
}

#[test]
fn repeats_and_late_repeats_change_nothing() {
    for expected in EXPECTED {
        let recording = Recording::read(expected.name);
        for seed in 0..20 {
            let mut replay = Replay::new(&recording, expected);
            for index in 0..recording.len() {
                replay.reaches(index);
                replay.sees(index);
                let chance = mixed(seed * 1000 + index as u64);
                if chance.is_multiple_of(2) {
                    replay.sees(index);
                }
                // An old word of something that is still there comes late.
                let late = (chance >> 8) as usize % (index + 1);
                if chance.is_multiple_of(3) && !recording.is_deletion(late) && !recording.is_gone(late, index) {
                    replay.sees(late);
                }
            }
            replay.ends();
            expected.holds(&replay, &format!("repeats, seed {seed}"));
        }
    }
}

#[test]
fn events_that_never_came_are_made_up_for_by_the_next_list() {
    for expected in EXPECTED {
        let recording = Recording::read(expected.name);
        for seed in 0..100 {
            let mut replay = Replay::new(&recording, expected);
            for index in 0..recording.len() {
                replay.reaches(index);
                let comes = index == 0 || mixed(seed * 1000 + index as u64) % 10 > seed % 9;
                if comes {
                    replay.sees(index);
                }
            }
            replay.lists(recording.len());
            replay.ends();
            expected.holds_with_gaps(&replay, &format!("gaps, seed {seed}"));
        }
    }
}

#[test]
fn a_watch_that_is_cut_anywhere_and_goes_on_from_a_list_ends_the_same() {
    for expected in EXPECTED {
        let recording = Recording::read(expected.name);
        for cut in 1..recording.len() {
            for pause in [1, 4, 15, recording.len()] {
                let resumed = (cut + pause).min(recording.len());
                let mut replay = Replay::new(&recording, expected);
                for index in 0..cut {
                    replay.reaches(index);
                    replay.sees(index);
                }
                for index in cut..resumed {
                    replay.reaches(index);
                }
                replay.lists(resumed);
                for index in resumed..recording.len() {
                    replay.reaches(index);
                    replay.sees(index);
                }
                replay.ends();
                expected.holds_with_gaps(&replay, &format!("cut at {cut} for {pause}"));
            }
        }
    }
}

#[test]
fn an_executor_that_takes_a_run_over_at_any_point_and_knows_nothing_of_it_comes_to_the_same_end() {
    for expected in EXPECTED {
        let recording = Recording::read(expected.name);
        for taken in 1..=recording.len() {
            let mut replay = Replay::new(&recording, expected);
            for index in 0..taken {
                replay.reaches(index);
            }
            replay.lists(taken);
            for index in taken..recording.len() {
                replay.reaches(index);
                replay.sees(index);
            }
            replay.ends();
            expected.holds_with_gaps(&replay, &format!("taken over at {taken}"));
        }
    }
}

#[test]
fn a_quota_that_is_full_is_waited_for_until_the_control_plane_gives_up() {
    let expected = Expected::of("quota-pods-0");
    let recording = Recording::read(expected.name);
    let mut replay = Replay::new(&recording, expected);
    for index in 0..recording.len() {
        replay.sees(index);
    }
    assert_eq!(replay.task().state.kind(), StateKind::Starting);
    let waiting = replay.task().state.waiting().unwrap();
    assert_eq!(waiting.wait.reason, WaitReason::QuotaExceeded);
    assert!(waiting.wait.message.contains("requested: pods=1, used: pods=0, limited: pods=0"), "{waiting:?}");
}

//! The local backend against the suite that every backend passes, and against what only processes can do.

#![expect(clippy::unwrap_used, reason = "all of this is test code, and a panic is how a test fails")]

mod conformance;
mod crash;
mod ends;
mod gone;
mod kit;
mod limits;
mod making;
mod output;

macro_rules! conforms {
    ($($name:ident),* $(,)?) => {$(
        #[tokio::test]
        async fn $name() {
            let kit = kit::Kit::new();
            conformance::$name(kit.backend(), &|command| kit.spec(command)).await;
        }
    )*};
}

mod local_conforms {
    use super::{conformance, kit};

    conforms!(
        an_unknown_run_is_absent_and_takes_no_orders,
        a_run_is_inert_until_it_is_released,
        the_same_run_again_is_the_same_run,
        exit_codes_are_told_as_they_are,
        a_cancelled_inert_run_never_starts,
        a_cancelled_run_is_over_when_nothing_is_left,
        a_run_that_takes_too_long_is_timed_out,
        a_natural_end_stays_one_after_a_cancel,
        output_is_kept_to_the_byte_and_read_from_anywhere,
        output_is_followed_until_the_end,
        changes_tell_of_the_start_and_of_the_end,
        a_removed_run_is_absent,
    );
}

//! Real processes, and everything that can happen to them: killed, held up, cut off, told things twice. Clients ask for all sorts of
//! things meanwhile, and write down what they asked and what they were told; commands write down what they did. Then a checker
//! holds the one against the other.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]
#![expect(clippy::disallowed_methods, reason = "the rules of a service: nothing here is one")]

mod acts;
mod bus;
mod calls;
mod checker;
mod crowd;
mod history;
mod ledger;
mod nemesis;
mod points;
mod process;
mod seen;
mod stage;
mod storm;
mod system;

//! What is done to the system, at random moments: each fault heals after a while, and several may be open at a time. All of them
//! are dealt out before one comes again.

use std::time::{Duration, Instant};

use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use taskplane_testkit::nats::Nats;
use taskplane_testkit::postgres::Stop;
use taskplane_testkit::proxy::{CommitCut, Toward, Weather};

use crate::history::History;
use crate::points;
use crate::system::{Role, System};

/// Faults that are open at one time.
const OPEN: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Kill,
    /// Killed, and in its next life at one of the [points](crate::points).
    KillAtPoint,
    Hold,
    Terminate,
    DatabaseRestarts,
    DatabaseCrashes,
    DatabaseAway,
    DatabaseSlow,
    DatabaseCut,
    CommitLost,
    CommitUnheard,
    DoorCut,
    DoorDeaf,
    DoorShort,
    ExecutorAway,
    BusCrashes,
    /// Gone, and with it all that it kept.
    BusLost,
    /// Gone, and back as it was a while before.
    BusForgets,
    BusHeld,
    BusAway,
    BusCut,
}

impl Fault {
    pub const ALL: &[Self] = &[
        Self::Kill,
        Self::Kill,
        Self::KillAtPoint,
        Self::KillAtPoint,
        Self::KillAtPoint,
        Self::Hold,
        Self::Terminate,
        Self::DatabaseRestarts,
        Self::DatabaseCrashes,
        Self::DatabaseAway,
        Self::DatabaseSlow,
        Self::DatabaseCut,
        Self::CommitLost,
        Self::CommitUnheard,
        Self::CommitUnheard,
        Self::DoorCut,
        Self::DoorDeaf,
        Self::DoorShort,
        Self::ExecutorAway,
        Self::ExecutorAway,
        Self::BusCrashes,
        Self::BusLost,
        Self::BusForgets,
        Self::BusHeld,
        Self::BusAway,
        Self::BusCut,
    ];
}

/// What makes it good again.
enum Heal {
    GoOn(usize),
    Database,
    DatabaseLine(usize),
    Door(usize),
    Executor(usize),
    Bus,
    BusGoesOn,
    BusLine(usize),
}

pub struct Nemesis {
    rng: StdRng,
    deck: Vec<Fault>,
    open: Vec<(Instant, Heal)>,
    /// There is a copy of what the bus kept.
    saved: bool,
}

impl Nemesis {
    pub fn new(rng: StdRng) -> Self {
        Self { rng, deck: Vec::new(), open: Vec::new(), saved: false }
    }

    /// Until then.
    pub async fn rages(&mut self, system: &mut System, history: &History, until: Instant) {
        let mut next = Instant::now();
        while Instant::now() < until {
            let now = Instant::now();
            self.heals(system, history, |due| due <= now);
            system.supervise(history);
            if next <= now && self.open.len() < OPEN {
                let fault = self.deals();
                self.does(fault, system, history);
                next = now + Duration::from_millis(self.rng.random_range(0..4000));
            }
            // It is random moments that are wanted here, not a condition.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.heals(system, history, |_| true);
        for member in &mut system.members {
            member.down_until = member.down_until.map(|_| Instant::now());
        }
        history.fault("everything is well again".into());
    }

    fn deals(&mut self) -> Fault {
        if self.deck.is_empty() {
            self.deck = Fault::ALL.to_vec();
            self.deck.shuffle(&mut self.rng);
        }
        self.deck.pop().unwrap()
    }

    /// How long a fault lasts: mostly briefly, at times longer than any lease.
    fn lasting(&mut self) -> Duration {
        match self.rng.random_bool(0.2) {
            true => Duration::from_millis(self.rng.random_range(10_000..25_000)),
            false => Duration::from_millis(self.rng.random_range(200..5000)),
        }
    }

    fn does(&mut self, fault: Fault, system: &mut System, history: &History) {
        let lasting = self.lasting();
        let until = Instant::now() + lasting;
        let some = |rng: &mut StdRng, which: &dyn Fn(usize) -> bool| {
            let candidates: Vec<usize> = (0..system.members.len()).filter(|number| which(*number)).collect();
            candidates.choose(rng).copied()
        };
        let chosen = match fault {
            Fault::Kill | Fault::KillAtPoint | Fault::Hold | Fault::Terminate => {
                some(&mut self.rng, &|number| system.members[number].down_until.is_none())
            }
            Fault::DoorCut | Fault::DoorDeaf | Fault::DoorShort => {
                some(&mut self.rng, &|number| system.members[number].door.is_some())
            }
            Fault::ExecutorAway => {
                some(&mut self.rng, &|number| matches!(system.members[number].role, Role::Executor(_)))
            }
            Fault::DatabaseRestarts
            | Fault::DatabaseCrashes
            | Fault::DatabaseAway
            | Fault::DatabaseSlow
            | Fault::DatabaseCut
            | Fault::CommitLost
            | Fault::CommitUnheard => some(&mut self.rng, &|number| system.members[number].database.is_some()),
            Fault::BusCrashes
            | Fault::BusLost
            | Fault::BusForgets
            | Fault::BusHeld
            | Fault::BusAway
            | Fault::BusCut => some(&mut self.rng, &|number| system.members[number].bus.is_some()),
        };
        let Some(number) = chosen else { return };
        let member = &mut system.members[number];
        history.fault(format!("{fault:?} of {}, {lasting:?}", member.process.name));
        let database = || member.database.as_ref().unwrap();
        let bus = || member.bus.as_ref().unwrap();
        let door = || &member.door.as_ref().unwrap().lines[0];
        match fault {
            Fault::Kill => member.kill(Instant::now() + lasting.min(Duration::from_secs(3))),
            Fault::KillAtPoint => {
                let point = points::any(member.role, &mut self.rng);
                history.fault(format!("{} will kill itself at {point}", member.process.name));
                member.process.failpoint = Some(point);
                member.kill(Instant::now());
            }
            Fault::Hold if member.process.is_held() => {}
            Fault::Hold => {
                member.process.hold();
                self.open.push((until, Heal::GoOn(number)));
            }
            Fault::Terminate if member.process.is_held() => {}
            Fault::Terminate => {
                member.process.asks_to_stop();
                member.down_until = Some(Instant::now());
            }
            Fault::DatabaseRestarts | Fault::DatabaseCrashes => {
                if self.open.iter().any(|(_, heal)| matches!(heal, Heal::Database)) {
                    return;
                }
                let how = if fault == Fault::DatabaseCrashes { Stop::Immediate } else { Stop::Fast };
                tokio::task::block_in_place(|| system.postgres.stop(how).unwrap());
                // Meanwhile nothing happens at all, which finds nothing; at times it lasts for longer than a lease all the same.
                let brief = Instant::now() + Duration::from_secs(3);
                let until = if self.rng.random_bool(0.2) { until } else { until.min(brief) };
                self.open.push((until, Heal::Database));
            }
            Fault::DatabaseAway => {
                database().set(Weather::Blackhole);
                self.open.push((until, Heal::DatabaseLine(number)));
            }
            Fault::DatabaseSlow => {
                database().set(Weather::Delay(Duration::from_millis(self.rng.random_range(5..100))));
                self.open.push((until, Heal::DatabaseLine(number)));
            }
            Fault::DatabaseCut => drop(database().reset_all()),
            Fault::CommitLost => database().cut_commits(self.rng.random_range(1..4), CommitCut::BeforeServer),
            Fault::CommitUnheard => database().cut_commits(self.rng.random_range(1..6), CommitCut::BeforeClient),
            Fault::DoorCut => drop(door().reset_all()),
            Fault::DoorDeaf => {
                let toward = if self.rng.random_bool(0.5) { Toward::Client } else { Toward::Server };
                door().set(Weather::Deaf(toward));
                self.open.push((until, Heal::Door(number)));
            }
            Fault::ExecutorAway => {
                let Role::Executor(executor) = member.role else { return };
                system.lines_of(executor).for_each(|line| line.set(Weather::Blackhole));
                self.open.push((until, Heal::Executor(executor)));
            }
            Fault::BusCrashes | Fault::BusLost | Fault::BusForgets | Fault::BusHeld => {
                if self.open.iter().any(|(_, heal)| matches!(heal, Heal::Bus | Heal::BusGoesOn)) {
                    return;
                }
                let heal = tokio::task::block_in_place(|| self.harms_the_bus(fault, &system.nats).unwrap());
                self.open.push((until, heal));
            }
            Fault::BusAway => {
                bus().set(Weather::Blackhole);
                self.open.push((until, Heal::BusLine(number)));
            }
            Fault::BusCut => drop(bus().reset_all()),
            Fault::DoorShort => {
                door().cut_after(Some(self.rng.random_range(100..20_000)));
                door().reset_all();
                self.open.push((until, Heal::Door(number)));
            }
        }
    }

    fn harms_the_bus(&mut self, fault: Fault, nats: &Nats) -> anyhow::Result<Heal> {
        if fault == Fault::BusHeld {
            nats.hold()?;
            return Ok(Heal::BusGoesOn);
        }
        nats.kill()?;
        match fault {
            Fault::BusLost => nats.wipe()?,
            Fault::BusForgets if self.saved => nats.restore()?,
            _ => {}
        }
        // For a time to come.
        if fault != Fault::BusLost {
            nats.save()?;
            self.saved = true;
        }
        Ok(Heal::Bus)
    }

    fn heals(&mut self, system: &mut System, history: &History, due: impl Fn(Instant) -> bool) {
        let (over, open) = std::mem::take(&mut self.open).into_iter().partition(|(at, _)| due(*at));
        self.open = open;
        for (_, heal) in over {
            match heal {
                Heal::GoOn(number) => {
                    let process = &mut system.members[number].process;
                    history.fault(format!("{} goes on", process.name));
                    process.go_on();
                }
                Heal::Database => {
                    history.fault("the database is back".into());
                    tokio::task::block_in_place(|| system.postgres.resume().unwrap());
                }
                Heal::Bus => {
                    history.fault("the bus is back".into());
                    tokio::task::block_in_place(|| system.nats.run().unwrap());
                }
                Heal::BusGoesOn => {
                    history.fault("the bus goes on".into());
                    system.nats.go_on().unwrap();
                }
                Heal::BusLine(number) => {
                    let member = &system.members[number];
                    history.fault(format!("{} reaches the bus", member.process.name));
                    member.bus.as_ref().unwrap().set(Weather::Clear);
                }
                Heal::DatabaseLine(number) => {
                    let member = &system.members[number];
                    history.fault(format!("{} reaches the database", member.process.name));
                    member.database.as_ref().unwrap().set(Weather::Clear);
                }
                Heal::Executor(executor) => {
                    history.fault(format!("executor-{} reaches the apis", executor + 1));
                    system.lines_of(executor).for_each(|line| line.set(Weather::Clear));
                }
                Heal::Door(number) => {
                    let member = &system.members[number];
                    history.fault(format!("{} is reached", member.process.name));
                    let door = &member.door.as_ref().unwrap().lines[0];
                    door.set(Weather::Clear);
                    door.cut_after(None);
                    door.reset_all();
                }
            }
        }
    }
}

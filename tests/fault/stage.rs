//! A system with its history, from the first call to the judgement.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng as _;
use taskplane_proto::v1 as pb;
use taskplane_proto::v1::space_service_client::SpaceServiceClient;
use tokio::sync::{Mutex, MutexGuard};
use tonic::Code;

use crate::bus;
use crate::calls::{Caller, Outcome};
use crate::checker::{Story, check, is_final};
use crate::history::{Answer, Ask, EventSeen, History, JobSeen, TaskSeen, What};
use crate::ledger;
use crate::system::{System, chance, seed};

pub const APPS: [&str; 2] = ["a", "b"];
/// Until everything is over when nothing is done to the system any more: deadlines come to their end by then, and a machine may be
/// busy.
const QUIET: Duration = Duration::from_secs(400);

static ALONE: Mutex<()> = Mutex::const_new(());

pub struct Stage {
    pub system: System,
    pub history: Arc<History>,
    /// Whoever looks after the whole.
    pub caller: Caller,
    pub seed: u64,
    judged: bool,
    /// Each has the machine to itself: what it does is heavy enough.
    _alone: MutexGuard<'static, ()>,
}

impl Stage {
    /// With a Space and its Apps; so many Tasks may be live at one time, beyond which clients are refused.
    pub async fn set(live: i32) -> Self {
        let alone = ALONE.lock().await;
        let seed = seed();
        let system = System::start().await;
        let ledger = system.path("ledger");
        let history = Arc::new(History::begin(system.directory(), ledger.clone()));
        let caller =
            Caller { client: 0, history: Arc::clone(&history), doors: system.doors(), ledger, rng: chance(seed) };
        let mut stage = Self { system, history, caller, seed, judged: false, _alone: alone };
        stage.prepare(live).await;
        stage
    }

    async fn prepare(&mut self, live: i32) {
        let quota = pb::SpaceQuota { live_tasks: live, ..pb::SpaceQuota::default() };
        let space = pb::Space { quota: Some(quota), ..pb::Space::default() };
        let request = pb::CreateSpaceRequest { space_id: "s".into(), space: Some(space) };
        loop {
            let created = SpaceServiceClient::new(self.caller.door()).create_space(request.clone()).await;
            match created.map_err(|status| status.code()) {
                Ok(_) | Err(Code::AlreadyExists) => break,
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
        for app in APPS {
            let push = Ask::PushApp { app: app.to_owned(), command: "true".into() };
            while !matches!(self.caller.ask(push.clone()).await, Outcome::Told(_)) {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }

    /// Another client, with chances of its own.
    pub fn a_client(&mut self, client: u32) -> Caller {
        Caller { client, rng: chance(self.caller.rng.random()), ..self.caller.clone() }
    }

    /// Lets everything come to its end and holds it against what is promised; what is left of it is kept when something is broken.
    pub async fn judge(&mut self) -> Story {
        let result = self.quiet().await.map(|()| self.story());
        self.judged = true;
        let seed = self.seed;
        match result {
            Ok(story) => {
                let (broken, panicked) = (check(&story), self.panicked());
                if broken.is_empty() && panicked.is_empty() {
                    let seconds = self.history.age().as_secs();
                    eprintln!("TASKPLANE_CHAOS_SEED={seed}, {seconds} s: {story}");
                    return story;
                }
                self.history.fault(format!("broken:\n{broken}"));
                panic!("TASKPLANE_CHAOS_SEED={seed}; panicked: {panicked:?}; broken:\n{broken}{}", self.kept());
            }
            Err(open) => panic!("TASKPLANE_CHAOS_SEED={seed}; it does not come to rest: {open}\n{}", self.kept()),
        }
    }

    fn kept(&mut self) -> String {
        format!("history, ledger and logs are in {}", self.system.keep().display())
    }

    fn story(&self) -> Story {
        let ledger: PathBuf = self.system.path("ledger");
        let entries = ledger::parse(&std::fs::read_to_string(ledger).unwrap_or_default());
        Story::new(self.history.lines(), entries)
    }

    fn panicked(&self) -> Vec<String> {
        let members = self.system.members.iter();
        let panicked = members.filter(|member| member.process.log().contains("panicked at"));
        panicked.map(|member| member.process.name.clone()).collect()
    }

    /// Whoever dies meanwhile is started again.
    async fn quiet(&mut self) -> Result<(), String> {
        let Self { system, history, caller, .. } = self;
        let mut open = String::from("nothing could be read");
        let rest = reads_the_end(caller, system.nats.url(), &mut open);
        let watched = async {
            tokio::pin!(rest);
            loop {
                system.supervise(history);
                tokio::select! {
                    () = &mut rest => break,
                    () = tokio::time::sleep(Duration::from_millis(50)) => {}
                }
            }
        };
        let quiet = tokio::time::timeout(QUIET, watched).await;
        quiet.map_err(|_| open)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.judged {
            let kept = self.kept();
            eprintln!("TASKPLANE_CHAOS_SEED={}; {kept}", self.seed);
        }
    }
}

/// Stops all that makes Tasks, waits until those that are there are over, and writes down how everything is then.
async fn reads_the_end(caller: &mut Caller, bus: String, open: &mut String) {
    loop {
        let Answer::Jobs(jobs) = caller.learns(Ask::ListJobs).await else { unreachable!() };
        for JobSeen { job, .. } in jobs.iter().filter(|job| !job.deleting) {
            // One that was paused is paused.
            caller.ask(Ask::PauseJob { job: job.clone() }).await;
        }
        let Answer::Tasks(tasks) = caller.learns(Ask::ListTasks).await else { unreachable!() };
        let lives = |task: &&TaskSeen| !is_final(&task.state) && !task.stuck;
        let deleting: Vec<&JobSeen> = jobs.iter().filter(|job| job.deleting).collect();
        let live: Vec<&TaskSeen> = tasks.iter().filter(lives).collect();
        if deleting.is_empty() && live.is_empty() {
            let before = caller.learns(Ask::ListEvents).await;
            let Answer::Jobs(jobs) = caller.learns(Ask::ListJobs).await else { unreachable!() };
            for job in &jobs {
                caller.learns(Ask::ListRuns { job: job.job.clone() }).await;
            }
            caller.learns(Ask::ListTasks).await;
            let Answer::Events(feed) = caller.learns(Ask::ListEvents).await else { unreachable!() };
            if before == Answer::Events(feed.clone()) {
                return reads_the_stream(caller, &bus, feed, open).await;
            }
            "the feed goes on".clone_into(open);
        } else {
            *open = format!("{} Tasks live, of which {:?}; being deleted: {deleting:?}", live.len(), live.first());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Waits until the bus has all that the feed has, and writes down what it has then.
async fn reads_the_stream(caller: &Caller, bus: &str, feed: Vec<EventSeen>, open: &mut String) {
    loop {
        let call = caller.history.asks(caller.client, Ask::ReadStream);
        if let Some(stream) = bus::read(bus).await {
            let told: HashSet<_> = stream.iter().map(|event| (&event.uid, event.sequence)).collect();
            let lacks = feed.iter().filter(|event| !told.contains(&(&event.uid, event.sequence))).count();
            if lacks == 0 {
                return caller.history.tells(caller.client, call, What::Told(Answer::Events(stream)));
            }
            *open = format!("the bus lacks {lacks} of the {} events of the feed", feed.len());
        } else {
            "the bus has no stream".clone_into(open);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

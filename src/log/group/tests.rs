use super::*;

const FSYNC: Duration = Duration::from_micros(100);

/// Group commit with a clock that is set by hand; frame numbers count commits.
struct Bench {
    group: GroupCommit,
    now: Instant,
    published: u64,
    synced: u64,
    target: u64,
}

impl Bench {
    fn new() -> Bench {
        let now = Instant::now();
        Bench { group: GroupCommit::new(now), now, published: 0, synced: 0, target: 0 }
    }

    fn ask(&mut self, ticket: &mut Ticket, frame_no: u64) -> Step {
        let step = self.group.step(ticket, frame_no, self.published, self.now);
        if step == Step::Lead {
            self.target = self.published;
        }
        step
    }

    fn commit(&mut self) -> (Ticket, u64, Step) {
        self.published += 1;
        let mut ticket = Ticket::default();
        let step = self.ask(&mut ticket, self.published);
        (ticket, self.published, step)
    }

    fn finish(&mut self) -> Finished {
        self.now += FSYNC;
        self.synced = self.synced.max(self.target);
        self.group.finish(self.now)
    }

    /// So many commit; all but the last wait.
    fn commit_as_one(&mut self, count: usize) {
        for _ in 1..count {
            assert!(matches!(self.commit().2, Step::Wait { .. }));
        }
        assert_eq!(self.commit().2, Step::Lead);
        let finished = self.finish();
        assert_eq!((finished.release, finished.call), (count > 1, Call::Nobody));
        assert_eq!(self.synced, self.published);
    }
}

#[test]
fn one_connection_alone_never_waits() {
    let mut bench = Bench::new();
    for _ in 0..100 {
        bench.commit_as_one(1);
    }
}

#[test]
fn those_who_were_served_together_are_served_together_again_and_the_last_one_leads() {
    let mut bench = Bench::new();
    assert_eq!(bench.commit().2, Step::Lead);
    let waiting: Vec<_> = (0..3).map(|_| bench.commit().2).collect();
    // One of them keeps the time.
    assert!(matches!(waiting[0], Step::Wait { number: 2, until: Some(_) }), "{waiting:?}");
    assert_eq!(waiting[1..], [Step::Wait { number: 2, until: None }; 2]);
    // Three have gathered, and the first one is expected to come back.
    assert_eq!(bench.finish(), Finished { number: 1, release: false, call: Call::Nobody });
    assert_eq!(bench.commit().2, Step::Lead);
    assert_eq!(bench.finish(), Finished { number: 2, release: true, call: Call::Nobody });
    assert_eq!(bench.synced, 5);
    for _ in 0..100 {
        bench.commit_as_one(4);
    }
}

#[test]
fn who_does_not_come_back_is_waited_for_half_an_fsync_and_once() {
    let mut bench = Bench::new();
    assert_eq!(bench.commit().2, Step::Lead);
    let (mut keeper, frame_no, _) = bench.commit();
    bench.commit();
    bench.finish();
    // Two have gathered, and the one who led does not come.
    let until = bench.now + FSYNC / 2;
    assert_eq!(bench.ask(&mut keeper, frame_no), Step::Wait { number: 2, until: Some(until) });
    bench.now = until;
    assert_eq!(bench.ask(&mut keeper, frame_no), Step::Lead);
    bench.finish();
    // From now on two are enough ...
    for _ in 0..TRUST - 1 {
        bench.commit_as_one(2);
    }
    // ... until one more is tried for.
    assert_eq!(bench.group.limit, 3);
}

#[test]
fn who_gathered_is_called_when_an_fsync_ends_that_was_not_for_them() {
    let mut bench = Bench::new();
    bench.commit_as_one(1);
    bench.published += 1;
    assert_eq!(bench.group.intrude(bench.published, false, bench.now), None);
    bench.target = bench.published;
    // This one is covered, and waits for that very fsync; so does somebody else who is not a committer.
    let mut covered = Ticket::default();
    assert_eq!(bench.ask(&mut covered, bench.published), Step::Wait { number: 1, until: None });
    assert_eq!(bench.group.intrude(bench.published, true, bench.now), Some(1));
    let (mut later, frame_no, step) = bench.commit();
    assert!(matches!(step, Step::Wait { number: 2, .. }));
    assert!(bench.finish().release);
    bench.group.leave(&mut covered);
    assert!(bench.synced < frame_no);
    assert_eq!(bench.group.gathered, 1);
    assert!(matches!(bench.ask(&mut later, frame_no), Step::Lead | Step::Wait { until: Some(_), .. }));
}

/// A committer or somebody else, as far as it is known to `durability.rs`.
struct Actor {
    ticket: Ticket,
    /// It waits for this frame ...
    frame_no: u64,
    /// ... for the end of this fsync, not beyond the time.
    wait: Option<(u64, Option<Instant>)>,
    notified: bool,
    /// Not a committer: everything is to be fsynced, or just up to the frame.
    intruder: Option<bool>,
}

/// Random schedules of committers, of others who fsync, and of time. `durability.rs` is played here, condition variables
/// included.
struct Play {
    bench: Bench,
    random: u64,
    actors: Vec<Actor>,
    leader: Option<usize>,
    fsyncs: u64,
}

impl Play {
    fn random(&mut self, below: usize) -> usize {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) as usize % below
    }

    /// What a thread does between two waits.
    fn act(&mut self, at: usize) {
        let actor = &mut self.actors[at];
        (actor.wait, actor.notified) = (None, false);
        if self.bench.synced >= actor.frame_no {
            // Acknowledged.
            self.bench.group.leave(&mut actor.ticket);
            actor.frame_no = 0;
            return;
        }
        let mut leads = false;
        if let Some(everything) = actor.intruder {
            let target = if everything { self.bench.published } else { actor.frame_no };
            match self.bench.group.intrude(target, everything, self.bench.now) {
                Some(number) => actor.wait = Some((number, None)),
                None => (self.bench.target, leads) = (target, true),
            }
        } else {
            match self.bench.ask(&mut actor.ticket, actor.frame_no) {
                Step::Wait { number, until } => actor.wait = Some((number, until)),
                Step::Lead => leads = true,
            }
        }
        if leads {
            assert_eq!(self.leader.replace(at), None, "two fsyncs at once");
        }
    }

    fn finish(&mut self, at: usize) {
        self.fsyncs += 1;
        self.leader = None;
        let finished = self.bench.finish();
        // The leader returns without another look.
        assert!(self.bench.synced >= self.actors[at].frame_no, "acknowledged before it is durable");
        self.actors[at].frame_no = 0;
        self.actors[at].ticket = Ticket::default();
        let next = finished.number + 1;
        if finished.release {
            self.notify(finished.number, usize::MAX);
        }
        match finished.call {
            Call::Nobody => {}
            Call::One => self.notify(next, 1),
            Call::All => self.notify(next, usize::MAX),
        }
    }

    fn notify(&mut self, number: u64, count: usize) {
        let first = self.random(self.actors.len());
        let len = self.actors.len();
        let waiters: Vec<usize> = (0..len).map(|at| (first + at) % len).collect();
        let sleeps = |actor: &Actor| actor.wait.is_some_and(|(n, _)| n % 2 == number % 2) && !actor.notified;
        for at in waiters.into_iter().filter(|&at| sleeps(&self.actors[at])).take(count).collect::<Vec<_>>() {
            self.actors[at].notified = true;
        }
    }

    fn run(seed: u64) -> (u64, u64) {
        let committers = 1 + seed as usize % 6;
        let actor = |intruder| Actor {
            ticket: Ticket::default(),
            frame_no: 0,
            wait: None,
            notified: false,
            intruder,
        };
        let mut actors: Vec<Actor> = (0..committers).map(|_| actor(None)).collect();
        if seed.is_multiple_of(3) {
            actors.extend([actor(Some(true)), actor(Some(false))]);
        }
        let mut play = Play { bench: Bench::new(), random: seed, actors, leader: None, fsyncs: 0 };
        let mut left = 300;
        for turns in 0.. {
            assert!(turns < 100_000, "seed {seed}: it goes on for ever");
            let count = play.actors.len();
            let at = play.random(count);
            let passed = Duration::from_nanos(play.random(8000) as u64);
            play.bench.now += passed;
            let actor = &mut play.actors[at];
            let is_idle = actor.frame_no == 0;
            if is_idle && left > 0 {
                left -= 1;
                match actor.intruder {
                    None => {
                        play.bench.published += 1;
                        actor.frame_no = play.bench.published;
                    }
                    Some(true) => actor.frame_no = play.bench.published,
                    // A segment that is complete may end before the newest commit.
                    Some(false) => actor.frame_no = play.bench.synced.midpoint(play.bench.published),
                }
                play.act(at);
            } else if play.leader == Some(at) {
                play.finish(at);
            } else if let Some((_, until)) = actor.wait
                && (actor.notified || until.is_some_and(|until| until <= play.bench.now))
            {
                play.act(at);
            }
            if left == 0 && play.actors.iter().all(|actor| actor.frame_no == 0) {
                return (play.bench.published, play.fsyncs);
            }
            let stuck = play.leader.is_none()
                && left == 0
                && play.actors.iter().all(|actor| match actor.wait {
                    Some((_, until)) => !actor.notified && until.is_none(),
                    None => actor.frame_no == 0,
                });
            assert!(!stuck, "seed {seed}: everybody waits for somebody else");
        }
        unreachable!()
    }
}

#[test]
fn under_any_schedule_everybody_is_served_and_nobody_before_the_fsync() {
    let (mut commits, mut fsyncs) = (0, 0);
    for seed in 0..500 {
        let (published, done) = Play::run(seed);
        commits += published;
        fsyncs += done;
    }
    assert!(fsyncs < commits, "{commits} commits, {fsyncs} fsyncs");
}

//! kill -9 of members: what was acknowledged is there, and who lives goes on.
//!
//! One seed is one database, on which [`KILLS`] processes are killed. The seed repeats the plan, not the moments: these depend on the
//! machine.

use std::time::Duration;

use rustix::process::Signal;

use crate::campaign::Campaign;
use crate::group::{Group, Plan};
use crate::random::Random;
use crate::setting::Engine;
use crate::worker::Role;

/// Processes that are killed on one database.
const KILLS: u64 = 20;
/// The most members that a group has.
const MOST: usize = 8;
/// Databases at a time: the members rest most of the time.
const THREADS: usize = 2;

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Event {
    One,
    Several,
    All,
    WhileItOpens,
    WhileItCloses,
    ForkedChild,
    /// Stopped for a while first, wherever it is: in the middle of what it holds.
    WhileItIsStopped,
    /// Stopped for a while, and it goes on.
    Stopped,
    OrderlyClose,
    OneMore,
}

/// How often each happens beside the others.
const EVENTS: [(Event, u64); 10] = [
    (Event::One, 5),
    (Event::Several, 2),
    (Event::All, 1),
    (Event::WhileItOpens, 2),
    (Event::WhileItCloses, 2),
    (Event::ForkedChild, 1),
    (Event::WhileItIsStopped, 1),
    (Event::Stopped, 2),
    (Event::OrderlyClose, 1),
    (Event::OneMore, 2),
];

struct Chain {
    group: Group,
    random: Random,
    kills: u64,
}

impl Chain {
    fn new(engine: Engine, seed: u64) -> Chain {
        let page_size = [4096, 512, 65536][seed as usize % 3];
        // Of the same kind on both engines: stock SQLite takes no notice of the options of vwal.
        let params = ["", "vwal_swap=frames%3E%3D20&vwal_checkpoint_size=64KiB", "vwal_group_commit=off"];
        let params = match seed % 4 {
            0 => params[0].to_owned(),
            1 | 2 => params[1].replace("64KiB", &format!("{}KiB", (page_size / 8).max(64))),
            _ => params[2].to_owned(),
        };
        let group = Group::new(Plan { engine, page_size, params, pace: 2 });
        Chain { group, random: Random::new(seed.wrapping_mul(1000)), kills: 0 }
    }

    /// Starts a member whose number in the ledger nobody has now.
    fn start(&mut self) {
        let taken = |member| self.group.members.iter().any(|worker| worker.options.member == member);
        let member = (1..).find(|&member| !taken(member)).expect("there are more numbers than members");
        let role = *self.random.pick(&[Role::Writer, Role::Writer, Role::Writer, Role::Reader, Role::Short]);
        let mut options = self.group.options(member, role, &mut self.random);
        options.fork = self.random.below(6) == 0;
        self.group.start(options);
    }

    fn refill(&mut self) {
        let wanted = 2 + self.random.below(MOST as u64 - 1) as usize;
        while self.group.members.len() < wanted {
            self.start();
        }
    }

    fn pause(&mut self, most: Duration) {
        std::thread::sleep(Duration::from_micros(self.random.below(most.as_micros() as u64)));
    }

    fn any(&mut self) -> usize {
        self.random.below(self.group.members.len() as u64) as usize
    }

    /// Stops a member, and the process that it forked goes on.
    fn stop_one(&mut self) -> usize {
        let place = self.any();
        self.group.members[place].signal(Signal::STOP);
        self.pause(Duration::from_millis(60));
        place
    }

    fn happen(&mut self, event: Event) {
        self.pause(Duration::from_millis(40));
        match event {
            Event::One => {
                let place = self.any();
                self.kills += self.group.kill(&[place]);
            }
            Event::Several => {
                let mut places: Vec<usize> = (0..self.group.members.len()).collect();
                places.retain(|_| self.random.below(2) == 0);
                self.kills += self.group.kill(&places);
            }
            Event::All => {
                let places: Vec<usize> = (0..self.group.members.len()).collect();
                self.kills += self.group.kill(&places);
            }
            Event::WhileItOpens => {
                self.start();
                self.group
                    .until("a member opens", |group| group.members.last().is_some_and(|last| last.opens()));
                self.pause(Duration::from_millis(3));
                let last = self.group.members.len() - 1;
                self.kills += self.group.kill(&[last]);
            }
            Event::WhileItCloses => {
                let place = self.any();
                self.group.until("a member is ready", |group| group.members[place].is_ready());
                self.group.members[place].close();
                // A short one has closed before.
                if self.group.members[place].options.role != Role::Short {
                    self.group.until("a member closes", |group| group.members[place].closes());
                }
                self.pause(Duration::from_millis(3));
                self.kills += self.group.kill(&[place]);
            }
            Event::ForkedChild => {
                let Some(member) = self.group.members.iter_mut().find(|member| member.has_child()) else {
                    return;
                };
                if member.is_ready() {
                    member.kill_child();
                    self.kills += 1;
                }
            }
            Event::WhileItIsStopped => {
                let place = self.stop_one();
                self.kills += self.group.kill(&[place]);
            }
            Event::Stopped => {
                let place = self.stop_one();
                self.group.members[place].signal(Signal::CONT);
            }
            Event::OrderlyClose => {
                let place = self.any();
                self.group.members[place].close();
                self.group.gone(place);
            }
            Event::OneMore => {
                if self.group.members.len() < MOST {
                    self.start();
                }
            }
        }
    }

    fn run(mut self) -> u64 {
        while self.kills < KILLS {
            self.refill();
            let mut at = self.random.below(EVENTS.iter().map(|(_, often)| often).sum());
            let event = EVENTS.iter().find(|(_, often)| {
                let is_it = at < *often;
                at = at.wrapping_sub(*often);
                is_it
            });
            let event = event.expect("the number is below the sum").0;
            self.happen(event);
            match self.random.below(4) {
                0 => self.group.check_in_a_new_process(),
                _ => self.group.check("check"),
            }
            self.group.all_go_on();
        }
        let kills = self.kills;
        self.group.finish();
        kills
    }
}

#[test]
fn kill_nine_of_members_loses_nothing_and_holds_nobody_up() {
    for engine in Engine::all() {
        let part = if engine == Engine::Stock { "kill -9, stock" } else { "kill -9" };
        Campaign::new("processes", part, 2, 50).run(THREADS, |seed| Chain::new(engine, seed).run());
    }
}

/// One process after the other.
#[test]
fn one_process_at_a_time() {
    for engine in [Engine::Stock, Engine::Vwal] {
        let mut random = Random::new(7);
        let params = "vwal_swap=frames%3E%3D20".to_owned();
        let mut group = Group::new(Plan { engine, page_size: 512, params, pace: 1 });
        for round in 0..6 {
            let role = [Role::Writer, Role::Short, Role::Reader][round % 3];
            let options = group.options(1 + round % 2, role, &mut random);
            group.start(options);
            group.all_ready();
            (0..5).for_each(|_| group.all_go_on());
            if round % 2 == 0 {
                group.kill(&[0]);
            } else {
                group.members[0].close();
                group.gone(0);
            }
            group.check("check");
        }
        assert!(group.lines() > 0, "lines were written");
        group.finish();
    }
}

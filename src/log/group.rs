//! Group commit: who does the next fsync, and when. The decisions alone, without the fsync and without the waiting, which
//! are in `durability.rs`.
//!
//! Committers *gather* for the next fsync. It begins when as many have gathered as are expected, and the one who comes last
//! does it: nobody has to be woken for that. Expected are those who have gathered while an fsync was running and those
//! whom it releases, since a connection that has just got its answer most often commits again at once. Without the
//! wait four connections fall into two halves, one of which always comes too late for the fsync of the other: a
//! commit then takes two fsyncs, and an fsync serves half of them.
//!
//! The wait is short, half the time of an fsync at most, so that it cannot cost more than it gains; the one who gathered
//! first keeps the time. Who did not come is not expected the next time. One connection alone never waits.

use std::time::Duration;

use crate::sync::Instant;

/// After so many fsyncs for which nobody waited in vain, one committer more is expected.
const TRUST: u32 = 16;
/// What an fsync takes, before one has been measured.
const FIRST_GUESS: Duration = Duration::from_micros(100);

/// What a committer does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The fsync, for everyone who has gathered. [`GroupCommit::finish`] must follow.
    Lead,
    /// Wait for the end of the fsync with this number, and not beyond `until`; then ask again.
    Wait { number: u64, until: Option<Instant> },
}

/// What the end of an fsync entails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Finished {
    /// The number of the fsync.
    pub(super) number: u64,
    /// Somebody waits for it.
    pub(super) release: bool,
    /// Who of those that wait for the next one is to ask again.
    pub(super) call: Call,
}

/// See [`Finished::call`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Nobody,
    /// As many have gathered as are expected, so one of them begins.
    One,
    /// The fsync was not for them. It may cover some, and the others begin.
    All,
}

/// The fsync that a committer waits for.
#[derive(Default)]
pub(super) struct Ticket(Option<u64>);

/// See the module.
pub(super) struct GroupCommit {
    /// The fsync that is running covers the frames up to here.
    running: Option<u64>,
    /// It is not for those who had gathered when it began.
    apart: bool,
    began: Instant,
    /// The number of the last fsync that has begun.
    number: u64,
    /// Committers whom it serves, its leader included.
    members: usize,
    /// Who waits for its end, the leader not included.
    waiting: usize,
    /// Committers who wait for the next one.
    gathered: usize,
    /// The next one begins with so many ...
    expected: usize,
    /// ... or at this time.
    deadline: Instant,
    /// No more than so many are expected.
    limit: usize,
    /// Fsyncs since `limit` has changed.
    streak: u32,
    /// What an fsync takes.
    duration: Duration,
}

impl GroupCommit {
    pub(super) fn new(now: Instant) -> GroupCommit {
        GroupCommit {
            running: None,
            apart: false,
            began: now,
            number: 0,
            members: 0,
            waiting: 0,
            gathered: 0,
            expected: 0,
            deadline: now,
            limit: usize::MAX,
            streak: 0,
            duration: FIRST_GUESS,
        }
    }

    /// The commit that ends at `frame_no` is published and not durable. `published`: the last frame that is published.
    pub(super) fn step(&mut self, ticket: &mut Ticket, frame_no: u64, published: u64, now: Instant) -> Step {
        match self.running {
            Some(_) if ticket.0 == Some(self.number) => Step::Wait { number: self.number, until: None },
            Some(target) if frame_no <= target => {
                // One that is not for those who have gathered may cover this commit all the same.
                self.leave(ticket);
                ticket.0 = Some(self.number);
                self.members += 1;
                self.waiting += 1;
                Step::Wait { number: self.number, until: None }
            }
            Some(_) => {
                let keeps_time = self.gather(ticket);
                // The fsync may be about to end.
                let until = keeps_time.then(|| (self.began + self.duration).max(now) + self.patience());
                Step::Wait { number: self.number + 1, until }
            }
            None => {
                let keeps_time = self.gather(ticket);
                if self.gathered < self.expected && now < self.deadline {
                    let until = keeps_time.then_some(self.deadline);
                    return Step::Wait { number: self.number + 1, until };
                }
                if self.gathered < self.expected {
                    self.limit = self.gathered;
                    self.streak = 0;
                }
                self.begin(published.max(frame_no), now);
                self.waiting -= 1;
                Step::Lead
            }
        }
    }

    /// Join those who wait for the next fsync. Whether it is this one who keeps the time.
    fn gather(&mut self, ticket: &mut Ticket) -> bool {
        if ticket.0 == Some(self.number + 1) {
            // A committer that asks a second time keeps the time for those that gather, or has been woken to lead.
            return true;
        }
        ticket.0 = Some(self.number + 1);
        self.gathered += 1;
        self.gathered == 1
    }

    /// A committer does not wait any more. It may not have been served by the fsync that it waited for.
    pub(super) fn leave(&mut self, ticket: &mut Ticket) {
        if ticket.0.take() == Some(self.number + 1) {
            self.gathered -= 1;
        }
    }

    fn begin(&mut self, target: u64, now: Instant) {
        self.number += 1;
        self.members = std::mem::take(&mut self.gathered);
        self.waiting = self.members;
        self.running = Some(target);
        self.apart = false;
        self.began = now;
    }

    /// Somebody who is not a committer wants an fsync of the frames up to `target`. `everything`: all that is published;
    /// then it is for those who have gathered, too. None: it may begin, and [`GroupCommit::finish`] must follow. Or
    /// one is running: its number, to wait for its end and ask again.
    pub(super) fn intrude(&mut self, target: u64, everything: bool, now: Instant) -> Option<u64> {
        if self.running.is_some() {
            self.waiting += 1;
            return Some(self.number);
        }
        if everything {
            self.begin(target, now);
        } else {
            self.members = 0;
            self.waiting = 0;
            self.running = Some(target);
            self.apart = true;
            self.began = now;
        }
        None
    }

    /// The fsync that was running is over.
    pub(super) fn finish(&mut self, now: Instant) -> Finished {
        self.running = None;
        let released = std::mem::take(&mut self.members);
        if released > 0 {
            // One that took very long tells little about the next one.
            let took = (now - self.began).min(2 * self.duration);
            self.duration = (7 * self.duration + took) / 8;
            self.streak += 1;
            if self.streak == TRUST {
                self.streak = 0;
                self.limit = self.limit.saturating_add(1);
            }
        }
        self.expected = (released + self.gathered).min(self.limit);
        self.deadline = now + self.patience();
        let call = match self.gathered {
            0 => Call::Nobody,
            _ if self.apart => Call::All,
            gathered if gathered >= self.expected => Call::One,
            _ => Call::Nobody,
        };
        Finished { number: self.number, release: std::mem::take(&mut self.waiting) > 0, call }
    }

    #[cfg(test)]
    pub(super) fn gathered(&self) -> usize {
        self.gathered
    }

    /// How long those who are expected are waited for.
    fn patience(&self) -> Duration {
        self.duration / 2
    }
}

#[cfg(test)]
mod tests;

//! When a failed operation is tried again, and for how long.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::time::Instant;

/// How long an operation on storage is tried.
///
/// Only what may work later is tried again: a server's error, throttling, a timeout, a broken connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// No new attempt begins later than this after the first one. Zero: there is one attempt.
    pub deadline: Duration,
    /// The pause after the first failure; it doubles with each further one.
    pub first_backoff: Duration,
    /// The longest pause.
    pub max_backoff: Duration,
    /// How long one request may take, and how long a store may be silent while it lists.
    pub request_timeout: Duration,
}

impl Default for RetryPolicy {
    /// Fifteen seconds of attempts, 100 ms to 5 s apart, of at most thirty seconds each.
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(15),
            first_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(5),
            request_timeout: Duration::from_secs(30),
        }
    }
}

impl RetryPolicy {
    /// One attempt, of at most `request_timeout`.
    pub fn once(request_timeout: Duration) -> Self {
        Self { deadline: Duration::ZERO, request_timeout, ..Self::default() }
    }

    /// The attempts of one operation.
    pub(super) fn begin(&self) -> Attempts {
        // A deadline that cannot be represented is one that never comes.
        Attempts { policy: *self, until: Instant::now().checked_add(self.deadline), made: 1 }
    }

    /// The pause after attempt number `made`, before the jitter.
    fn backoff(&self, made: u32) -> Duration {
        let factor = 1_u32.checked_shl(made.saturating_sub(1)).unwrap_or(u32::MAX);
        self.first_backoff.saturating_mul(factor).min(self.max_backoff)
    }
}

/// The attempts that one operation has had so far.
pub(super) struct Attempts {
    policy: RetryPolicy,
    until: Option<Instant>,
    made: u32,
}

impl Attempts {
    /// How many there were.
    pub fn made(&self) -> u32 {
        self.made
    }

    /// Wait until the next attempt may begin; `false`: there is no time for another one.
    pub async fn pause(&mut self) -> bool {
        let pause = jitter(self.policy.backoff(self.made));
        let next = Instant::now().checked_add(pause);
        if next.is_none() || self.until.is_some_and(|until| next.is_some_and(|next| next > until)) {
            return false;
        }
        tokio::time::sleep(pause).await;
        self.made = self.made.saturating_add(1);
        true
    }
}

/// Half to all of `pause`, at random: those that failed together do not come back together.
fn jitter(pause: Duration) -> Duration {
    let random = RandomState::new().hash_one(0_u8) & 0xFFFF;
    // 0x8000..=0xFFFF of 0x10000; the product of the nanoseconds fits an u128.
    let nanoseconds = pause.as_nanos() * u128::from(0x8000 + random / 2) / 0x1_0000;
    u64::try_from(nanoseconds).map_or(pause, Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let policy = RetryPolicy::default();
        let pauses: Vec<u128> = (1..=8).map(|made| policy.backoff(made).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(policy.backoff(u32::MAX), policy.max_backoff);
    }

    #[test]
    fn jitter_is_half_to_all() {
        let pause = Duration::from_millis(1000);
        let all: Vec<Duration> = (0..1000).map(|_| jitter(pause)).collect();
        assert!(all.iter().all(|&took| took >= pause / 2 && took <= pause), "{all:?}");
        assert!(all.iter().any(|&took| took < pause * 3 / 4) && all.iter().any(|&took| took > pause * 3 / 4));
        assert_eq!(jitter(Duration::ZERO), Duration::ZERO);
        assert!(jitter(Duration::MAX) <= Duration::MAX);
    }

    #[test]
    fn without_a_deadline_there_is_one_attempt() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let mut attempts = RetryPolicy::once(Duration::from_secs(1)).begin();
            assert!(!attempts.pause().await);
            assert_eq!(attempts.made(), 1);
            let fast = RetryPolicy {
                deadline: Duration::from_secs(3600),
                first_backoff: Duration::from_micros(1),
                ..RetryPolicy::default()
            };
            let mut attempts = fast.begin();
            assert!(attempts.pause().await && attempts.pause().await);
            assert_eq!(attempts.made(), 3);
        });
    }
}

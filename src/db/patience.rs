//! How long a close waits for storage. The decisions alone, without the waiting.
//!
//! A process that ends closes all its databases, one after the other or at once, and storage that is away is away for all of them:
//! so they share one deadline. An application that opens and closes its database for each request would wait for storage
//! that is away each time: so one that did not answer a close is not waited for again at once.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Storage that did not answer a close is not waited for during this time.
const PAUSE: Duration = Duration::from_secs(30);
/// A close that begins so soon after the shared deadline, or after the last wait in vain, still belongs to those that share it.
const GAP: Duration = Duration::from_secs(1);
/// What is left of the shared deadline for a late close is at least this part of its own timeout: its storage may be another one.
const SHARE: u32 = 20;

/// Shared by all databases of the process.
#[derive(Default)]
pub(super) struct Patience {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// The deadline that the closes share now.
    until: Option<Instant>,
    /// Closes that wait.
    waiting: usize,
    /// When the last wait in vain of those that share it was over.
    last: Option<Instant>,
    /// Storage that did not answer, and when that was.
    away: HashMap<String, Instant>,
}

impl Patience {
    /// A close begins to wait for `storage`. Returns for how long it may. [`Patience::ended`] must follow.
    pub(super) fn begin(&self, storage: &str, timeout: Duration, now: Instant) -> Duration {
        let mut inner = self.inner.lock();
        inner.waiting += 1;
        inner.away.retain(|_, since| now.saturating_duration_since(*since) < PAUSE);
        if inner.away.contains_key(storage) {
            return Duration::ZERO;
        }
        match inner.until {
            Some(until) if now < until.max(inner.last.unwrap_or(until)) + GAP => {
                until.saturating_duration_since(now).max(timeout / SHARE).min(timeout)
            }
            _ => {
                inner.last = None;
                inner.until = Some(now + timeout);
                timeout
            }
        }
    }

    /// The wait of `allowed` is over. `stored`: storage has everything.
    pub(super) fn ended(
        &self,
        storage: &str,
        timeout: Duration,
        allowed: Duration,
        stored: bool,
        now: Instant,
    ) {
        let mut inner = self.inner.lock();
        inner.waiting -= 1;
        if stored {
            inner.away.remove(storage);
            // If all storage answers, there is nothing to save the next close from. What one storage answers says nothing of another
            // one, which is waited for, or was in vain.
            if inner.waiting == 0 && inner.last.is_none() {
                inner.until = None;
            }
            return;
        }
        inner.last = Some(now);
        if allowed > timeout / SHARE {
            inner.away.insert(storage.to_owned(), now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(5);

    /// Closes databases with the given storages one after the other, each of which waits in vain. Returns how long that takes.
    fn close_in_vain(patience: &Patience, storages: &[String], start: Instant) -> Duration {
        let mut now = start;
        for storage in storages {
            let allowed = patience.begin(storage, TIMEOUT, now);
            now += allowed;
            patience.ended(storage, TIMEOUT, allowed, false, now);
        }
        now - start
    }

    #[test]
    fn databases_that_are_closed_one_after_the_other_share_a_deadline() {
        let start = Instant::now();
        let same = vec!["s3://away".to_owned(); 8];
        assert_eq!(close_in_vain(&Patience::default(), &same, start), TIMEOUT);
        let other: Vec<String> = (0..8).map(|number| format!("s3://away{number}")).collect();
        assert_eq!(close_in_vain(&Patience::default(), &other, start), TIMEOUT + 7 * (TIMEOUT / SHARE));
    }

    #[test]
    fn storage_that_answers_does_not_give_the_rest_a_new_deadline() {
        let patience = Patience::default();
        let start = Instant::now();
        let mut now = start;
        for number in 0..8 {
            let storage = format!("s3://away{number}");
            let allowed = patience.begin(&storage, TIMEOUT, now);
            let other = patience.begin("s3://there", TIMEOUT, now);
            patience.ended("s3://there", TIMEOUT, other, true, now);
            now += allowed;
            patience.ended(&storage, TIMEOUT, allowed, false, now);
            let other = patience.begin("s3://there", TIMEOUT, now);
            patience.ended("s3://there", TIMEOUT, other, true, now);
        }
        assert_eq!(now - start, TIMEOUT + 7 * (TIMEOUT / SHARE));
    }

    #[test]
    fn databases_that_are_closed_at_the_same_time_share_a_deadline() {
        let (patience, start) = (Patience::default(), Instant::now());
        for number in 0..8 {
            let now = start + number * Duration::from_millis(100);
            assert_eq!(now + patience.begin("s3://away", TIMEOUT, now), start + TIMEOUT);
        }
    }

    #[test]
    fn storage_that_is_away_is_not_waited_for_by_each_request() {
        let (patience, start) = (Patience::default(), Instant::now());
        let storage = ["s3://away".to_owned()];
        assert_eq!(close_in_vain(&patience, &storage, start), TIMEOUT);
        assert_eq!(close_in_vain(&patience, &storage, start + TIMEOUT + 5 * GAP), Duration::ZERO);
        assert_eq!(close_in_vain(&patience, &storage, start + TIMEOUT + PAUSE), TIMEOUT);
    }

    #[test]
    fn storage_that_answers_is_waited_for_each_time() {
        let (patience, mut now) = (Patience::default(), Instant::now());
        for _ in 0..100 {
            assert_eq!(patience.begin("s3://slow", TIMEOUT, now), TIMEOUT);
            now += Duration::from_millis(700);
            patience.ended("s3://slow", TIMEOUT, TIMEOUT, true, now);
        }
    }

    #[test]
    fn storage_that_had_hardly_any_time_does_not_count_as_away() {
        let (patience, start) = (Patience::default(), Instant::now());
        let both = ["s3://away".to_owned(), "s3://slow".to_owned()];
        close_in_vain(&patience, &both, start);
        assert_eq!(patience.begin("s3://slow", TIMEOUT, start + 2 * TIMEOUT), TIMEOUT);
    }
}

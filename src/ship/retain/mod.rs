//! Retention: deleting bundles that nobody needs any more.
//!
//! [`plan`](plan::plan) decides, and touches nothing; [`survey`] finds out what it must know; [`expire`] acts.
//!
//! No clock of this machine is asked. The age of a bundle is the time between its newest commit and the newest commit of
//! all, and by the clock of the store that between the two objects; it is old only if both say so. A commit time that lies
//! behind the newest commit's comes from a clock that was set since, and says nothing: then the store's clock decides.

mod plan;
mod survey;

pub use plan::{ExpirePlan, Expired, Item, Known, Reason, Reference, plan};
pub use survey::{expire, orphans, survey};

#[cfg(test)]
mod plan_tests;
#[cfg(test)]
mod survey_tests;

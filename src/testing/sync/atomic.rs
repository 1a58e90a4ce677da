//! Atomics at each of which shuttle may let another thread go on, and the process that the thread belongs to may die (`dying.rs`).
//!
//! Both come before the access, with nothing in between: a thread of a process that has died does not access anything any more. (An atomic
//! of shuttle's own lets others go on before its access, so a death meanwhile would come too late.)

use std::ops::Deref;

pub use shuttle::sync::atomic::{Ordering, fence};

use super::dying::step;

macro_rules! atomic {
    ($name:ident, $value:ty) => {
        #[derive(Debug)]
        pub struct $name {
            switch: shuttle::sync::atomic::AtomicBool,
            value: std::sync::atomic::$name,
        }

        impl $name {
            pub const fn new(value: $value) -> Self {
                let switch = shuttle::sync::atomic::AtomicBool::new(false);
                Self { switch, value: std::sync::atomic::$name::new(value) }
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new(Default::default())
            }
        }

        /// The access comes next.
        impl Deref for $name {
            type Target = std::sync::atomic::$name;
            fn deref(&self) -> &Self::Target {
                self.switch.load(Ordering::Relaxed);
                step();
                &self.value
            }
        }
    };
}

atomic!(AtomicBool, bool);
atomic!(AtomicU8, u8);
atomic!(AtomicU32, u32);
atomic!(AtomicI32, i32);
atomic!(AtomicU64, u64);
atomic!(AtomicUsize, usize);

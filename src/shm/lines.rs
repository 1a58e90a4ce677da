//! A value in cache lines of its own, so that processors which change neighbours do not take it from each other. The size does not
//! depend on the machine that vwal was compiled for: the layout is shared.

use std::ops::Deref;

/// See the module: 128 bytes, or a multiple. (Processors fetch lines of 64 bytes in pairs.)
#[derive(Default)]
#[repr(C, align(128))]
pub struct Lines<T>(pub T);

impl<T> Deref for Lines<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

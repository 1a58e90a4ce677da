//! Memory that grows with data. Rust's allocator ends the process when there is none, and the process is somebody else's: such
//! memory is asked for here, and an answer of "no" is [`Error::NoMemory`].

use crate::error::{Error, Result};

/// Make room for `more` entries in `list`. `what` says what they are.
pub fn reserve<T>(list: &mut Vec<T>, more: usize, what: &'static str) -> Result<()> {
    list.try_reserve(more).map_err(|_| no_memory::<T>(more, what))
}

/// Give `bytes` the length `len`; new bytes are zeros.
pub fn resize(bytes: &mut Vec<u8>, len: usize, what: &'static str) -> Result<()> {
    reserve(bytes, len.saturating_sub(bytes.len()), what)?;
    bytes.resize(len, 0);
    Ok(())
}

/// A list of `len` entries that `entry` makes.
pub fn filled<T>(len: usize, what: &'static str, entry: impl FnMut() -> T) -> Result<Box<[T]>> {
    let mut list = Vec::new();
    list.try_reserve_exact(len).map_err(|_| no_memory::<T>(len, what))?;
    list.extend(std::iter::repeat_with(entry).take(len));
    // The list is as long as its memory, so this asks for none.
    Ok(list.into_boxed_slice())
}

fn no_memory<T>(count: usize, what: &'static str) -> Error {
    Error::NoMemory { what, bytes: count.saturating_mul(size_of::<T>()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_system_has_is_an_error_with_words() {
        let mut list = vec![1u64];
        let error = reserve(&mut list, usize::MAX / 16, "the pages of a test").expect_err("too much");
        assert!(error.to_string().contains("the pages of a test"), "{error}");
        let error = filled(usize::MAX / 16, "a test", || 0u64).expect_err("too much");
        assert_eq!(error.sqlite_code(), libsqlite3_sys::SQLITE_IOERR_NOMEM);
        assert_eq!(list, [1], "it is as it was");
        let mut bytes = vec![1];
        assert!(matches!(resize(&mut bytes, usize::MAX / 2 + 2, "a test"), Err(Error::NoMemory { .. })));
        resize(&mut bytes, 3, "a test").expect("three bytes");
        assert_eq!(bytes, [1, 0, 0]);
    }
}

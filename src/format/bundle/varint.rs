//! Numbers of one to ten bytes: seven bits a byte, least significant first, the high bit says that more follow (LEB128).
//! Signed ones are folded so that small ones stay short (zigzag).

use crate::format::Problem;

pub fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Difference of two numbers, modulo 2^64: any two numbers have one.
pub fn put_difference(out: &mut Vec<u8>, from: u64, to: u64) {
    let difference = to.wrapping_sub(from) as i64;
    put(out, ((difference << 1) ^ (difference >> 63)) as u64);
}

/// Take a number off the front of `bytes`.
pub fn take(bytes: &mut &[u8]) -> Result<u64, Problem> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let Some((&byte, rest)) = bytes.split_first() else {
            return Err("a number is cut short".into());
        };
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            break;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err("a number has more than 64 bits".into())
}

/// Take a number that was written as a difference to `from`.
pub fn take_difference(bytes: &mut &[u8], from: u64) -> Result<u64, Problem> {
    let folded = take(bytes)?;
    let difference = (folded >> 1) as i64 ^ -((folded & 1) as i64);
    Ok(from.wrapping_add(difference as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_differences_round_trip() {
        let numbers = [0, 1, 127, 128, 16383, 16384, u64::from(u32::MAX), 1 << 62, u64::MAX - 1, u64::MAX];
        for &from in &numbers {
            for &to in &numbers {
                let mut bytes = Vec::new();
                put(&mut bytes, from);
                put_difference(&mut bytes, from, to);
                let mut rest = &bytes[..];
                assert_eq!(take(&mut rest), Ok(from));
                assert_eq!(take_difference(&mut rest, from), Ok(to));
                assert!(rest.is_empty());
                for cut in 0..bytes.len() {
                    let mut rest = &bytes[..cut];
                    assert!(take(&mut rest).and_then(|_| take(&mut rest)).is_err());
                }
            }
        }
    }

    #[test]
    fn too_many_bits_are_refused() {
        assert!(take(&mut &[0xff; 10][..]).is_err());
        assert!(take(&mut &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02][..]).is_err());
        assert_eq!(
            take(&mut &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01][..]),
            Ok(u64::MAX)
        );
    }
}

//! The rows: numbered writes that go around over some keys, each with its number and the time in its value.

use std::time::{SystemTime, UNIX_EPOCH};

use unisono::{Lww, Table};

pub(crate) type Rows = Table<String, Lww<String>>;

/// Keys of 16 bytes as they are stored: a short text has one byte of length before it.
const KEY_DIGITS: usize = 15;
/// And values of 64.
const NUMBER_DIGITS: usize = 31;
const TIME_DIGITS: usize = 32;

/// The wall clock in microseconds; all nodes run on one host, where it is the same.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or_default()
}

pub(crate) fn key(number: u64) -> String {
    format!("{number:0KEY_DIGITS$}")
}

/// Makes write number `number`.
pub(crate) fn write(rows: &Rows, number: u64, keys: u64) -> Result<(), Box<dyn std::error::Error>> {
    let time = now();
    Ok(rows.insert(&key(number % keys), &format!("{number:0NUMBER_DIGITS$}{time:0TIME_DIGITS$}"))?)
}

/// The number and the time of a write.
pub(crate) fn read(value: &str) -> Option<(u64, u64)> {
    let (number, time) = value.split_at_checked(NUMBER_DIGITS)?;
    Some((number.parse().ok()?, time.parse().ok()?))
}

/// To how many keys the last of so many writes is there.
pub(crate) fn held(rows: &Rows, writes: u64, keys: u64) -> u64 {
    let first = writes.saturating_sub(keys);
    let holds = |number: &u64| {
        let value = rows.get(&key(number % keys));
        value.and_then(|value| read(&value)).is_some_and(|(held, _)| held == *number)
    };
    // The last one first: as long as it is missing, there is no need to look at all the others.
    if writes > 0 && !holds(&(writes - 1)) {
        return 0;
    }
    (first..writes).filter(holds).count() as u64
}

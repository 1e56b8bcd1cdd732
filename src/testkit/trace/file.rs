//! A trace as a file: a line that says what it is, the seed, and one record after the other behind its length.

use std::io::{self, Read, Write};

use super::{Record, Trace};
use crate::wire;

const FIRST_LINE: &[u8] = b"unisono trace 3\n";

/// No record is longer: a frame of a stream and what belongs to it.
const LONGEST: usize = 4 << 20;

/// A trace cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The file cannot be read or written.
    #[error("the trace cannot be read or written; check the file and the room on its disk")]
    Io(#[from] io::Error),
    /// It is something else.
    #[error("this is no trace that this version can read; record it again from its seed")]
    NotATrace,
    /// It breaks off, or its bytes are not what was written.
    #[error("the trace is damaged after {records} records; record it again from its seed")]
    Damaged {
        /// So many records can be read.
        records: usize,
    },
}

impl Trace {
    /// Writes the trace; a buffered writer is faster.
    ///
    /// # Errors
    ///
    /// [`TraceError::Io`].
    pub fn write(&self, mut to: impl Write) -> Result<(), TraceError> {
        to.write_all(FIRST_LINE)?;
        to.write_all(&self.seed.to_be_bytes())?;
        for record in &self.records {
            let bytes = wire::encode(record);
            let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
            to.write_all(&length.to_be_bytes())?;
            to.write_all(&bytes)?;
        }
        Ok(to.flush()?)
    }

    /// Reads a trace; a buffered reader is faster.
    ///
    /// # Errors
    ///
    /// [`TraceError`].
    pub fn read(mut from: impl Read) -> Result<Self, TraceError> {
        let mut first_line = [0; FIRST_LINE.len()];
        let mut seed = [0; 8];
        from.read_exact(&mut first_line).map_err(|_| TraceError::NotATrace)?;
        if first_line != *FIRST_LINE {
            return Err(TraceError::NotATrace);
        }
        from.read_exact(&mut seed).map_err(|_| TraceError::NotATrace)?;
        let mut records = Vec::new();
        while let Some(record) = read_record(&mut from, records.len())? {
            records.push(record);
        }
        Ok(Self { seed: u64::from_be_bytes(seed), records })
    }
}

fn read_record(from: &mut impl Read, records: usize) -> Result<Option<Record>, TraceError> {
    let damaged = || TraceError::Damaged { records };
    let mut length = Vec::with_capacity(4);
    from.by_ref().take(4).read_to_end(&mut length)?;
    if length.is_empty() {
        return Ok(None);
    }
    let length: [u8; 4] = length.try_into().map_err(|_| damaged())?;
    let length = usize::try_from(u32::from_be_bytes(length)).map_err(|_| damaged())?;
    if length > LONGEST {
        return Err(damaged());
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes).map_err(|_| damaged())?;
    wire::decode(&bytes).map(Some).map_err(|_| damaged())
}

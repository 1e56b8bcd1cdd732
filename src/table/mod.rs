//! *Internal.*
//! The typed lens over the store: how keys and values become bytes, and what a table is made of.
//!
//! ```text
//!   K, V ── encode ──▶ key ≤ 1 KiB, value ≤ 64 KiB ──▶ store ── changes ──▶ Groups: the shares of each key
//!   K, V ◀── decode ── bytes that this or another node,               └───▶ View: rows in another order
//!                      perhaps of another schema, wrote
//! ```
//!
//! In comes a value of the application or the bytes of a row, out goes the other one or a [`RowError`]. Nothing here
//! awaits or knows which node it runs on; [`cluster::Table`](crate::cluster::Table) puts a table's name, the store and
//! the clock behind it.

mod groups;
mod lens;
mod schema;
mod share;
mod value;
mod view;

pub use groups::{Group, Groups, fold, shares};
pub use lens::{Encoded, RowError, decode_key, decode_value, encode_key, encode_value, key_bytes, value_bytes};
pub use schema::describe;
pub use share::{Author, Share, key_of, row_key, row_value};
pub use value::{Bag, Counter, Lww, Merge, MultiValue, Set, TableValue};
pub use view::{Sight, View};

//! What a table is made of, as text that nodes compare.

use super::value::TableValue;

/// Describes a table's types by their names, without the paths to them: `String -> Lww<Car>`. Two programs that name
/// their types alike are taken to mean the same.
pub fn describe<K, T: TableValue>() -> String {
    format!("{} -> {}", short(std::any::type_name::<K>()), short(std::any::type_name::<T>()))
}

/// The name of a type without paths: of each chain of names joined by `::` the last.
fn short(name: &str) -> String {
    let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(c) = rest.chars().next() {
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        if end == 0 {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            out.push_str(rest[..end].rsplit("::").next().unwrap_or_default());
            rest = &rest[end..];
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Counter, Lww, Set};

    struct Car;

    #[test]
    fn types_are_named_without_their_paths() {
        assert_eq!(describe::<String, Counter>(), "String -> Counter");
        assert_eq!(describe::<(String, u8), Lww<Vec<Option<u32>>>>(), "(String, u8) -> Lww<Vec<Option<u32>>>");
        assert_eq!(describe::<[u8; 16], Set<std::net::IpAddr>>(), "[u8; 16] -> Set<IpAddr>");
        assert_eq!(short(std::any::type_name::<&'static Car>()), "&Car");
    }
}

//! How the host of a URL is written: the one form of an origin, and addresses that are not written as an address
//! is: `127.1`, `0x7f000001`, `[::1%25lo]`. The system and most proxies understand those, and a check of the
//! usual form alone would not see them.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The one form of an origin, such as `https://a.example` or `http://a.example:8080`: in lower case, without
/// the port that is the scheme's own. Any other text is only put in lower case.
pub(crate) fn origin(text: &str) -> Cow<'_, str> {
    let own = if starts_with(text, "https://") { ":443" } else { ":80" };
    let without = text.strip_suffix(own).filter(|_| starts_with(text, "http"));
    let origin = without.unwrap_or(text);
    // Without an early end, so that it is done for many bytes at once.
    if origin.bytes().fold(false, |found, byte| found | byte.is_ascii_uppercase()) {
        Cow::Owned(origin.to_ascii_lowercase())
    } else {
        Cow::Borrowed(origin)
    }
}

/// In either case.
fn starts_with(text: &str, start: &str) -> bool {
    text.get(..start.len()).is_some_and(|found| found.eq_ignore_ascii_case(start))
}

/// The address that `host` means to those who understand every spelling of one.
pub(crate) fn address(host: &str) -> Option<IpAddr> {
    if let Some(inside) = in_brackets(host) {
        let (address, _zone) = inside.split_once('%').unwrap_or((inside, ""));
        return address.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    }
    host.parse().ok().or_else(|| numbers(without_dot(host)).map(IpAddr::V4))
}

/// Whether `host` is written as an address, but not in the one form that everybody reads alike.
pub(crate) fn is_odd(host: &str) -> bool {
    if let Some(inside) = in_brackets(host) {
        return inside.parse::<Ipv6Addr>().is_err();
    }
    let last = without_dot(host).rsplit('.').next().unwrap_or_default();
    let number = !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit());
    let hexadecimal = last.starts_with("0x") || last.starts_with("0X");
    host.parse::<IpAddr>().is_err() && (number || hexadecimal)
}

fn in_brackets(host: &str) -> Option<&str> {
    host.strip_prefix('[').map(|rest| rest.strip_suffix(']').unwrap_or(rest))
}

fn without_dot(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

/// One to four numbers, decimal, octal or hexadecimal, the last of which fills what is left of the address.
fn numbers(host: &str) -> Option<Ipv4Addr> {
    let parts = host.split('.').map(number).collect::<Option<Vec<u32>>>()?;
    let (last, bytes) = parts.split_last()?;
    let left = 4_u32.checked_sub(u32::try_from(bytes.len()).ok()?).filter(|left| *left > 0)?;
    let mut address = u64::from(*last);
    if address >> (8 * left) != 0 {
        return None;
    }
    for (position, byte) in (0_u32..).zip(bytes) {
        address |= u64::from(u8::try_from(*byte).ok()?) << (8 * (3 - position));
    }
    u32::try_from(address).ok().map(Ipv4Addr::from_bits)
}

fn number(text: &str) -> Option<u32> {
    let hexadecimal = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (digits, radix) = match (hexadecimal, text.strip_prefix('0')) {
        (Some(""), _) => return Some(0),
        (Some(digits), _) => (digits, 16),
        (None, Some(digits)) if !digits.is_empty() => (digits, 8),
        (None, _) => (text, 10),
    };
    // `from_str_radix` would read a sign as well.
    let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if plain { u32::from_str_radix(digits, radix).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_means_its_address_and_only_the_usual_one_is_not_odd() {
        let table = [
            ("127.0.0.1", Some("127.0.0.1"), false),
            ("127.0.0.1.", Some("127.0.0.1"), true),
            ("127.1", Some("127.0.0.1"), true),
            ("10.1.2", Some("10.1.0.2"), true),
            ("2852039166", Some("169.254.169.254"), true),
            ("0xa9fe.0xa9fe", None, true),
            ("0xa9.0xfe.0xa9fe", Some("169.254.169.254"), true),
            ("0XA9FEA9FE", Some("169.254.169.254"), true),
            ("0177.0.0.1", Some("127.0.0.1"), true),
            ("0x", Some("0.0.0.0"), true),
            ("4294967296", None, true),
            ("1.2.3.4.5", None, true),
            ("a.256", None, true),
            ("0xzz", None, true),
            ("[::1]", Some("::1"), false),
            ("[::1%25lo]", Some("::1"), true),
            ("[v1.x]", None, true),
            ("a.example", None, false),
            ("1.example", None, false),
            ("0x.example", None, false),
            ("example.", None, false),
            ("", None, false),
        ];
        for (host, expected, odd) in table {
            let expected = expected.map(|text| text.parse::<IpAddr>().unwrap());
            assert_eq!((address(host), is_odd(host)), (expected, odd), "{host}");
        }
    }
}

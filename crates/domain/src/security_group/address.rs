//! Where traffic may go: addresses, ranges and blocks, of either family, and what blocks a range is made of.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::security_group::shown;

/// A block of addresses, as NetworkPolicies name them: no bit is set behind its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

/// One part of a rule's destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Destination {
    Address(IpAddr),
    /// Both ends belong to it; they are of one family and in order.
    Range {
        first: IpAddr,
        last: IpAddr,
    },
    Block(Cidr),
}

/// What is wrong with a destination, with what would be right where that is clear.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DestinationError {
    #[error("{0} is no address, range (10.0.0.1-10.0.0.9) or block (10.0.0.0/8)")]
    NotADestination(String),
    #[error("{text} has host bits set: write {right}")]
    HostBits { text: String, right: Cidr },
    #[error("{text} has a prefix that is too long: at most /{longest} for its family")]
    PrefixTooLong { text: String, longest: u8 },
    #[error("{text} ends before it begins: write {last}-{first}")]
    Reversed { text: String, first: IpAddr, last: IpAddr },
    #[error("{0} begins in one address family and ends in the other")]
    MixedFamilies(String),
    #[error("{text} is an IPv4 address in IPv6 clothing: write {right}")]
    Mapped { text: String, right: Ipv4Addr },
}

/// Bits of an address of this family.
fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The address of that number, in the family of `like`.
fn address(number: u128, like: IpAddr) -> IpAddr {
    match like {
        // What comes here came from an address of four bytes.
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(u32::MAX))),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(number)),
    }
}

/// A number whose lowest `bits` are set, and no others.
fn ones(bits: u8) -> u128 {
    1_u128.checked_shl(bits.into()).map_or(u128::MAX, |power| power - 1)
}

impl Cidr {
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    pub fn first(&self) -> IpAddr {
        self.address
    }

    pub fn last(&self) -> IpAddr {
        address(number(self.address) | ones(width(self.address) - self.prefix), self.address)
    }
}

impl Destination {
    /// The fewest blocks that hold these addresses and no others, in order.
    pub fn blocks(&self) -> Vec<Cidr> {
        match *self {
            Self::Address(address) => vec![Cidr { address, prefix: width(address) }],
            Self::Block(block) => vec![block],
            Self::Range { first, last } => cover(first, last),
        }
    }
}

/// From the left: each time the largest block that begins here and does not reach beyond the end.
fn cover(first: IpAddr, last: IpAddr) -> Vec<Cidr> {
    let (width, end) = (width(first), number(last));
    let mut blocks = Vec::new();
    let mut next = number(first);
    loop {
        let aligned = next.trailing_zeros().min(width.into());
        let fits = (end - next).checked_add(1).map_or(128, u128::ilog2);
        // At most the width, which is at most 128.
        let size = u8::try_from(aligned.min(fits)).unwrap_or(width);
        blocks.push(Cidr { address: address(next, first), prefix: width - size });
        let reached = next | ones(size);
        if reached >= end {
            return blocks;
        }
        next = reached + 1;
    }
}

fn ip(whole: &str, text: &str) -> Result<IpAddr, DestinationError> {
    let address: IpAddr = text.parse().map_err(|_| DestinationError::NotADestination(shown(whole)))?;
    match address {
        IpAddr::V6(six) => match six.to_ipv4_mapped() {
            Some(right) => Err(DestinationError::Mapped { text: shown(text), right }),
            None => Ok(address),
        },
        IpAddr::V4(_) => Ok(address),
    }
}

fn block(whole: &str, base: &str, prefix: &str) -> Result<Cidr, DestinationError> {
    let base = ip(whole, base)?;
    let plain = !prefix.is_empty()
        && prefix.len() <= 3
        && prefix.bytes().all(|byte| byte.is_ascii_digit())
        && (prefix == "0" || !prefix.starts_with('0'));
    let bits = prefix.parse::<u16>().ok().filter(|_| plain);
    let bits = bits.ok_or_else(|| DestinationError::NotADestination(shown(whole)))?;
    let longest = width(base);
    let prefix = u8::try_from(bits).ok().filter(|bits| *bits <= longest);
    let prefix = prefix.ok_or_else(|| DestinationError::PrefixTooLong { text: shown(whole), longest })?;
    let right = Cidr { address: address(number(base) & !ones(longest - prefix), base), prefix };
    if right.address == base { Ok(right) } else { Err(DestinationError::HostBits { text: shown(whole), right }) }
}

impl FromStr for Destination {
    type Err = DestinationError;

    fn from_str(text: &str) -> Result<Self, DestinationError> {
        if let Some((base, prefix)) = text.split_once('/') {
            return Ok(Self::Block(block(text, base, prefix)?));
        }
        let Some((first, last)) = text.split_once('-') else { return Ok(Self::Address(ip(text, text)?)) };
        let (first, last) = (ip(text, first)?, ip(text, last)?);
        if width(first) != width(last) {
            Err(DestinationError::MixedFamilies(shown(text)))
        } else if last < first {
            Err(DestinationError::Reversed { text: shown(text), first, last })
        } else {
            Ok(Self::Range { first, last })
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Range { first, last } => write!(f, "{first}-{last}"),
            Self::Block(block) => block.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn blocks(text: &str) -> Vec<String> {
        text.parse::<Destination>().unwrap().blocks().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_range_becomes_the_blocks_one_would_write_by_hand() {
        assert_eq!(blocks("10.0.0.1"), ["10.0.0.1/32"]);
        assert_eq!(blocks("10.0.0.0/8"), ["10.0.0.0/8"]);
        assert_eq!(blocks("192.0.2.0-192.0.2.255"), ["192.0.2.0/24"]);
        assert_eq!(blocks("192.0.2.0-192.0.2.50"), ["192.0.2.0/27", "192.0.2.32/28", "192.0.2.48/31", "192.0.2.50/32"]);
        assert_eq!(blocks("10.0.0.7-10.0.0.7"), ["10.0.0.7/32"]);
        assert_eq!(blocks("0.0.0.0-255.255.255.255"), ["0.0.0.0/0"]);
        assert_eq!(blocks("::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), ["::/0"]);
        assert_eq!(blocks("2001:db8::1-2001:db8::4"), ["2001:db8::1/128", "2001:db8::2/127", "2001:db8::4/128"]);
        assert_eq!(blocks("0.0.0.1-255.255.255.254").len(), 62);
        assert_eq!(blocks("::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe").len(), 254);
    }

    /// Exact: the blocks stand shoulder to shoulder from the first address to the last. Fewest: none of them could be twice
    /// as large and still hold nothing beyond the ends.
    fn is_exact_and_minimal(first: IpAddr, last: IpAddr) {
        let blocks = Destination::Range { first, last }.blocks();
        assert_eq!(blocks[0].first(), first);
        assert_eq!(blocks[blocks.len() - 1].last(), last);
        for pair in blocks.windows(2) {
            assert_eq!(number(pair[0].last()) + 1, number(pair[1].first()));
        }
        for block in blocks {
            assert_eq!(block.to_string().parse(), Ok(Destination::Block(block)), "no host bits are set");
            if block.prefix > 0 {
                let parent = Cidr {
                    address: address(number(block.address) & !ones(width(first) - block.prefix + 1), first),
                    prefix: block.prefix - 1,
                };
                assert!(parent.first() < first || parent.last() > last, "{parent} is within {first}-{last}");
            }
        }
    }

    proptest! {
        #[test]
        fn every_ipv4_range_is_covered_exactly_and_by_the_fewest_blocks(a: u32, b: u32, near in 0_u32..600, close: bool) {
            let (first, last) = if close { (a, a.saturating_add(near)) } else { (a.min(b), a.max(b)) };
            is_exact_and_minimal(Ipv4Addr::from_bits(first).into(), Ipv4Addr::from_bits(last).into());
        }

        #[test]
        fn every_ipv6_range_is_covered_exactly_and_by_the_fewest_blocks(a: u128, b: u128, near in 0_u128..600, close: bool) {
            let (first, last) = if close { (a, a.saturating_add(near)) } else { (a.min(b), a.max(b)) };
            is_exact_and_minimal(Ipv6Addr::from_bits(first).into(), Ipv6Addr::from_bits(last).into());
        }

        #[test]
        fn whatever_is_typed_is_read_again_as_it_is_printed_or_refused(text in "[0-9a-f:./-]{0,24}|[0-9]{1,3}(\\.[0-9]{1,3}){3}([/-][0-9.]{0,15})?") {
            if let Ok(destination) = text.parse::<Destination>() {
                prop_assert_eq!(destination.to_string().parse(), Ok(destination));
            }
        }
    }

    #[test]
    fn what_is_wrong_with_a_destination_comes_with_what_would_be_right() {
        let not = |text: &str| format!("{text} is no address, range (10.0.0.1-10.0.0.9) or block (10.0.0.0/8)");
        for (text, said) in [
            ("10.0.0.1/8", "10.0.0.1/8 has host bits set: write 10.0.0.0/8".to_owned()),
            ("0.0.0.1/0", "0.0.0.1/0 has host bits set: write 0.0.0.0/0".to_owned()),
            ("2001:db8::1/32", "2001:db8::1/32 has host bits set: write 2001:db8::/32".to_owned()),
            ("10.0.0.0/33", "10.0.0.0/33 has a prefix that is too long: at most /32 for its family".to_owned()),
            ("::/129", "::/129 has a prefix that is too long: at most /128 for its family".to_owned()),
            ("::/999", "::/999 has a prefix that is too long: at most /128 for its family".to_owned()),
            ("10.0.0.9-10.0.0.1", "10.0.0.9-10.0.0.1 ends before it begins: write 10.0.0.1-10.0.0.9".to_owned()),
            ("10.0.0.1-::1", "10.0.0.1-::1 begins in one address family and ends in the other".to_owned()),
            ("::ffff:10.0.0.1", "::ffff:10.0.0.1 is an IPv4 address in IPv6 clothing: write 10.0.0.1".to_owned()),
            ("10.0.0.0/", not("10.0.0.0/")),
            ("10.0.0.0/08", not("10.0.0.0/08")),
            ("10.0.0.0/+8", not("10.0.0.0/+8")),
            ("10.0.0.0/-1", not("10.0.0.0/-1")),
            ("10.0.0.0/8/8", not("10.0.0.0/8/8")),
            ("10.0.0.256", not("10.0.0.256")),
            ("10.0.0", not("10.0.0")),
            ("010.0.0.1", not("010.0.0.1")),
            ("10.0.0.1-", not("10.0.0.1-")),
            ("10.0.0.1 - 10.0.0.2", not("10.0.0.1 - 10.0.0.2")),
            ("10.0.0.1-10.0.0.2-10.0.0.3", not("10.0.0.1-10.0.0.2-10.0.0.3")),
            ("fe80::1%eth0", not("fe80::1%eth0")),
            ("example.com", not("example.com")),
            ("\u{661}0.0.0.1", not("\u{661}0.0.0.1")),
        ] {
            assert_eq!(text.parse::<Destination>().unwrap_err().to_string(), said);
        }
    }
}

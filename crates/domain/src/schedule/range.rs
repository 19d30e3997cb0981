//! The stretch of history in which schedules have ticks: well inside of what calendar and zones can be trusted with.

use jiff::Timestamp;

/// 1971-01-01T00:00:00Z.
pub const EARLIEST: Timestamp = Timestamp::constant(31_536_000, 0);
/// 2099-12-31T23:59:59Z.
pub const LATEST: Timestamp = Timestamp::constant(4_102_444_799, 0);

/// How far outside of the range a change of offset may lie and still move a time inside of it, in seconds.
pub(super) const MARGIN: i64 = 2 * 86_400;

/// The whole second of an instant, drawn into the range.
pub(super) fn second(at: Timestamp) -> i64 {
    at.clamp(EARLIEST, LATEST).as_second()
}

/// Back again; seconds of ours lie within a day or two of the range.
pub(super) fn instant(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap_or(LATEST)
}

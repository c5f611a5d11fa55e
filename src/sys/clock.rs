//! The wall clock as RFC 3339 text in UTC.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The present time with seconds, such as `2026-01-02T03:04:05Z`.
pub fn now_seconds() -> String {
    format!("{}Z", date_and_time(since_epoch().as_secs()))
}

/// The present time with nanoseconds, such as `2026-01-02T03:04:05.000000006Z`.
pub fn now_nanoseconds() -> String {
    let now = since_epoch();
    format!("{}.{:09}Z", date_and_time(now.as_secs()), now.subsec_nanos())
}

fn since_epoch() -> Duration {
    // A clock before 1970 is shown as 1970.
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn date_and_time(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Civil date from days (Howard Hinnant): years begin in March, so that the leap day is the last of its year, and
    // 400 years have 146097 days.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(seconds: u64, expected: &str) {
        assert_eq!(date_and_time(seconds), expected);
    }

    #[test]
    fn dates() {
        check(0, "1970-01-01T00:00:00");
        check(951_782_399, "2000-02-28T23:59:59");
        check(951_782_400, "2000-02-29T00:00:00");
        check(951_868_800, "2000-03-01T00:00:00");
        check(1_767_323_045, "2026-01-02T03:04:05");
        check(1_798_761_599, "2026-12-31T23:59:59");
        check(4_107_542_400, "2100-03-01T00:00:00");
    }
}

//! The browsers that are notified by Web Push.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use super::rows::{CameraScope, LoginId, SubscriptionId, UserId};
use crate::rows::{UnknownWord, words};

/// Minutes of a day.
const DAY: u16 = 24 * 60;

/// What a browser can be notified of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PushKind {
    /// A camera saw a person.
    Person,
    /// A camera saw something move.
    Motion,
    /// A camera heard something.
    Audio,
    /// A camera noticed something else.
    Other,
    /// A camera is not connected any more.
    Offline,
}

words!(PushKind {
    Person = "person",
    Motion = "motion",
    Audio = "audio",
    Other = "other",
    Offline = "offline",
});

impl PushKind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Person,
        Self::Motion,
        Self::Audio,
        Self::Other,
        Self::Offline,
    ];
}

/// Some of what a browser can be notified of. As text words separated by commas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PushKinds(pub BTreeSet<PushKind>);

impl fmt::Display for PushKinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = self.0.iter().map(|kind| kind.as_str()).collect();
        f.write_str(&words.join(","))
    }
}

impl FromStr for PushKinds {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let words = text.split(',').filter(|word| !word.is_empty());
        words.map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

/// A time of day, in minutes since midnight. As text `22:00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeOfDay(u16);

impl TimeOfDay {
    /// Of a day's minutes.
    #[must_use]
    pub fn from_minutes(minutes: u16) -> Option<Self> {
        (minutes < DAY).then_some(Self(minutes))
    }

    /// Since midnight.
    #[must_use]
    pub fn minutes(self) -> u16 {
        self.0
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

/// A text that is no time of day, or no quiet hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuietHoursError {
    /// Not `22:00`.
    #[error("a time of day is written like 22:00")]
    TimeOfDay,
    /// Not `22:00-07:00 Europe/Berlin`.
    #[error("quiet hours are written like 22:00-07:00 Europe/Berlin")]
    Form,
}

impl FromStr for TimeOfDay {
    type Err = QuietHoursError;

    fn from_str(text: &str) -> Result<Self, QuietHoursError> {
        let two_digits = |part: &str| {
            let is_number = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
            is_number.then(|| part.parse::<u16>().ok()).flatten()
        };
        let (hours, minutes) = text.split_once(':').ok_or(QuietHoursError::TimeOfDay)?;
        match (two_digits(hours), two_digits(minutes)) {
            (Some(hours @ ..24), Some(minutes @ ..60)) => Ok(Self(hours * 60 + minutes)),
            _ => Err(QuietHoursError::TimeOfDay),
        }
    }
}

/// When nothing is sent, each day by the clocks of a time zone. As text `22:00-07:00 Europe/Berlin`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuietHours {
    /// Their first minute.
    pub from: TimeOfDay,
    /// The first minute after them; earlier than `from` where midnight is between.
    pub until: TimeOfDay,
    /// The name of the zone in the IANA database.
    pub zone: String,
}

impl QuietHours {
    /// Whether clocks that show this time are within them. Where both ends are the same there are none.
    #[must_use]
    pub fn contain(&self, time: TimeOfDay) -> bool {
        if self.from <= self.until {
            self.from <= time && time < self.until
        } else {
            self.from <= time || time < self.until
        }
    }
}

impl fmt::Display for QuietHours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{} {}", self.from, self.until, self.zone)
    }
}

impl FromStr for QuietHours {
    type Err = QuietHoursError;

    fn from_str(text: &str) -> Result<Self, QuietHoursError> {
        let (hours, zone) = text.split_once(' ').ok_or(QuietHoursError::Form)?;
        let (from, until) = hours.split_once('-').ok_or(QuietHoursError::Form)?;
        Ok(Self {
            from: from.parse()?,
            until: until.parse()?,
            zone: zone.to_owned(),
        })
    }
}

/// A browser that is notified. Prints without its endpoint, with which anybody could send to it, and its keys.
#[derive(Clone, PartialEq, Eq)]
pub struct SubscriptionRow {
    /// The key.
    pub subscription: SubscriptionId,
    /// Whose; nobody's where there are no accounts.
    pub user: Option<UserId>,
    /// The login by which it was made, while that lasts.
    pub login: Option<LoginId>,
    /// Where its push service takes messages for it.
    pub endpoint: String,
    /// Its public key, in base64url.
    pub p256dh: String,
    /// The secret that is shared with it, in base64url.
    pub auth: String,
    /// The `https` origin of the page that it was made on.
    pub site: Option<String>,
    /// What people call the browser.
    pub name: String,
    /// The cameras it wants to hear of, among those that its user may see.
    pub cameras: CameraScope,
    /// What it wants to hear of them.
    pub kinds: PushKinds,
    /// When it wants to hear of nothing.
    pub quiet: Option<QuietHours>,
    /// Since when it is sent nothing, as its user wishes.
    pub paused_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
}

impl fmt::Debug for SubscriptionRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubscriptionRow")
            .field("subscription", &self.subscription)
            .field("user", &self.user)
            .field("login", &self.login)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> TimeOfDay {
        text.parse().unwrap()
    }

    #[test]
    fn kinds_and_quiet_hours_come_back_from_their_text() {
        for kinds in [
            PushKinds::default(),
            PushKinds([PushKind::Person].into()),
            PushKinds(PushKind::ALL.into()),
        ] {
            assert_eq!(kinds.to_string().parse(), Ok(kinds));
        }
        assert!("person,bees".parse::<PushKinds>().is_err());
        let quiet = QuietHours {
            from: time("22:05"),
            until: time("07:00"),
            zone: "America/Argentina/Buenos_Aires".to_owned(),
        };
        assert_eq!(quiet.to_string().parse(), Ok(quiet));
        for wrong in ["", "22:00-07:00", "22:00 UTC", "22:00-24:00 UTC"] {
            assert!(wrong.parse::<QuietHours>().is_err(), "{wrong}");
        }
        for wrong in [
            "24:00", "7:00", "07:60", "07:0", "+7:00", "0700", "07:00:00",
        ] {
            assert!(wrong.parse::<TimeOfDay>().is_err(), "{wrong}");
        }
        assert_eq!(TimeOfDay::from_minutes(1439), Some(time("23:59")));
        assert_eq!(TimeOfDay::from_minutes(1440), None);
    }

    #[test]
    fn quiet_hours_go_over_midnight_and_end_before_their_end() {
        let quiet = |from, until| QuietHours {
            from: time(from),
            until: time(until),
            zone: "UTC".to_owned(),
        };
        let table = [
            (
                "22:00",
                "07:00",
                ["21:59", "07:00"],
                ["22:00", "00:00", "06:59"],
            ),
            (
                "13:00",
                "15:00",
                ["12:59", "15:00"],
                ["13:00", "14:00", "14:59"],
            ),
        ];
        for (from, until, loud, silent) in table {
            let quiet = quiet(from, until);
            assert!(loud.iter().all(|at| !quiet.contain(time(at))), "{quiet}");
            assert!(silent.iter().all(|at| quiet.contain(time(at))), "{quiet}");
        }
        assert!(!quiet("07:00", "07:00").contain(time("07:00")));
    }
}

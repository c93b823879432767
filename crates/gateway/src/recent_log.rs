//! The last records of the log, kept in memory for whoever runs the program and has no terminal at hand.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

use crate::logging::printable;

/// Records that are kept.
const KEPT: usize = 500;
/// Longest record, in octets; longer ones are cut.
const LONGEST: usize = 2048;

/// A record of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// 1, 2, … since the program started.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// How bad it is.
    pub level: Level,
    /// What, with the fields and where it happened.
    pub text: String,
}

/// The log is one for the whole program, and so is this.
static RECENT: Mutex<Recent> = Mutex::new(Recent {
    records: VecDeque::new(),
    latest: 0,
});

#[derive(Debug)]
struct Recent {
    records: VecDeque<Record>,
    latest: u64,
}

impl Recent {
    fn push(&mut self, at: Timestamp, level: Level, text: String) {
        self.latest += 1;
        if self.records.len() >= KEPT {
            self.records.pop_front();
        }
        self.records.push_back(Record {
            number: self.latest,
            at,
            level,
            text,
        });
    }

    fn after(&self, number: u64) -> Vec<Record> {
        // What is ahead of all that there is comes from another run.
        let number = if number > self.latest { 0 } else { number };
        let later = self.records.iter().filter(|record| record.number > number);
        later.cloned().collect()
    }
}

/// The records behind that number, oldest first, as far as they are kept; all of them where it is of another run.
pub fn after(number: u64) -> Vec<Record> {
    recent().after(number)
}

fn recent() -> MutexGuard<'static, Recent> {
    // Each critical section leaves it whole.
    RECENT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where the log's formatter writes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory;

/// The writer of one record.
#[derive(Debug)]
pub(crate) struct RecordWriter(Level);

impl<'a> MakeWriter<'a> for Memory {
    type Writer = RecordWriter;

    fn make_writer(&'a self) -> RecordWriter {
        RecordWriter(Level::INFO)
    }

    fn make_writer_for(&'a self, about: &Metadata<'_>) -> RecordWriter {
        RecordWriter(*about.level())
    }
}

impl io::Write for RecordWriter {
    /// A record is written in one call.
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(record);
        let text: Cow<'_, str> = printable(text.trim());
        let end = text.floor_char_boundary(LONGEST);
        recent().push(Timestamp::now(), self.0, text[..end].to_owned());
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_records_are_kept_and_given_from_a_number_on() {
        let mut recent = Recent {
            records: VecDeque::new(),
            latest: 0,
        };
        for number in 1..=KEPT + 10 {
            recent.push(Timestamp::UNIX_EPOCH, Level::INFO, number.to_string());
        }
        let all = recent.after(0);
        assert_eq!((all.len(), all[0].number), (KEPT, 11));
        let latest = recent.latest;
        let last = recent.after(latest - 2);
        let texts: Vec<_> = last.iter().map(|record| record.text.as_str()).collect();
        assert_eq!(texts, ["509", "510"]);
        assert_eq!(recent.after(latest), []);
        assert_eq!(recent.after(latest + 1).len(), KEPT, "of another run");
    }

    #[test]
    fn h35_one_event_is_one_record_of_its_level_and_bounded() {
        use tracing_subscriber::layer::SubscriberExt as _;
        let layer = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_writer(Memory);
        let before = recent().latest;
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::warn!(
                camera = "a\r\nERROR forged\u{1b}[31m",
                "it is {}",
                "é".repeat(5000)
            );
        });
        let records = after(before);
        let ours: Vec<_> = records
            .iter()
            .filter(|record| record.text.contains("forged"))
            .collect();
        assert_eq!(ours.len(), 0, "cut off behind the long text");
        let long = records.iter().find(|record| record.text.contains("ééé"));
        let long = long.unwrap();
        assert_eq!(long.level, Level::WARN);
        assert!(long.text.len() <= LONGEST);
        assert!(!long.text.contains(char::is_control));
    }
}

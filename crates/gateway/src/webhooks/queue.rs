//! What waits for one receiver, in memory and in a file: so that it is sent after a crash too.
//!
//! The file is a log. A line is a checksum and a record: an event that waits, or the number up to which all is done. What was cut
//! off in the middle of a line by a crash does not have its checksum, and is left out. When nothing waits the file is
//! emptied, and when most of it is done it is written anew beside itself and put in its place.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

/// Most bytes of the lines that wait for one receiver.
const MAX_BYTES: usize = 8 << 20;
/// A file above this is written anew once it is more than twice what waits.
const COMPACT_ABOVE: u64 = 64 << 10;
/// Longest file that is read; ours are never longer than what may wait, twice, and a line.
const MAX_FILE: u64 = 4 * MAX_BYTES as u64;
/// Hexadecimal digits of a line's checksum: it recognises what was cut off, not what was forged.
const CHECK_DIGITS: usize = 16;

/// One event that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Waiting {
    /// Its place; grows by one from event to event of a run.
    pub(super) number: u64,
    /// Its id, which the receiver sees too.
    pub(super) id: String,
    /// What kind it is.
    pub(super) kind: String,
    /// When it happened, in seconds of Unix time.
    pub(super) at: i64,
    /// The body as it is sent.
    pub(super) body: String,
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
enum Record {
    Waiting(Waiting),
    /// All up to this number are done.
    Done(u64),
}

/// The queue of one receiver.
#[derive(Debug)]
pub(super) struct Queue {
    path: PathBuf,
    file: Option<File>,
    /// How long the file is.
    length: u64,
    /// What waits, each with the length of its line.
    waiting: VecDeque<(Waiting, usize)>,
    bytes: usize,
    next: u64,
    limit: usize,
    /// What waits is not all in the file, since it could not be written.
    behind: bool,
    dropped: Dropped,
}

/// What went without having been sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Dropped {
    /// Made room for later ones.
    pub(super) full: u64,
    /// Waited for too long.
    pub(super) old: u64,
}

impl Queue {
    /// Reads what waits from an earlier run. A file that cannot be read begins empty, and the error is returned beside.
    pub(super) fn open(path: PathBuf, limit: usize) -> (Self, Option<io::Error>) {
        let mut queue = Self {
            path,
            file: None,
            length: 0,
            waiting: VecDeque::new(),
            bytes: 0,
            next: 1,
            limit,
            behind: false,
            dropped: Dropped::default(),
        };
        let error = queue.load().and_then(|()| queue.rewrite()).err();
        queue.behind = error.is_some();
        (queue, error)
    }

    fn load(&mut self) -> io::Result<()> {
        let mut text = Vec::new();
        match File::open(&self.path) {
            Ok(file) => file.take(MAX_FILE).read_to_end(&mut text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for line in text.split(|byte| *byte == b'\n') {
            match parse(line) {
                Some(Record::Waiting(event)) => self.hold(event, line.len()),
                Some(Record::Done(number)) => self.release(number),
                None => {}
            }
        }
        // The file is written anew now, so what an earlier run counted up to does not matter.
        for (event, _) in &mut self.waiting {
            event.number = self.next;
            self.next += 1;
        }
        self.make_room();
        Ok(())
    }

    /// Adds an event at the end; where there is no room the oldest go. It waits even where it cannot be written, which the
    /// error says.
    pub(super) fn push(&mut self, id: String, kind: &str, at: i64, body: String) -> io::Result<()> {
        let event = Waiting {
            number: self.next,
            id,
            kind: kind.to_owned(),
            at,
            body,
        };
        self.next += 1;
        let line = line(&Record::Waiting(event.clone()))?;
        self.hold(event, line.len());
        let made_room = self.make_room();
        if self.behind || self.is_mostly_done() {
            return self.rewrite();
        }
        self.append(&line)?;
        match made_room {
            Some(number) => self.append_done(number),
            None => Ok(()),
        }
    }

    /// The event whose turn it is.
    pub(super) fn first(&self) -> Option<&Waiting> {
        self.waiting.front().map(|(event, _)| event)
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// An event is done with.
    pub(super) fn done(&mut self, number: u64) -> io::Result<()> {
        self.release(number);
        if self.behind || self.waiting.is_empty() || self.is_mostly_done() {
            return self.rewrite();
        }
        self.append_done(number)
    }

    /// Drops what happened before this time, in seconds of Unix time.
    pub(super) fn drop_before(&mut self, time: i64) -> io::Result<()> {
        let mut last = None;
        while self.first().is_some_and(|first| first.at < time) {
            last = self.pop().map(|event| event.number);
            self.dropped.old += 1;
        }
        last.map_or(Ok(()), |number| self.done(number))
    }

    /// What was dropped since this was last asked.
    pub(super) fn take_dropped(&mut self) -> Dropped {
        std::mem::take(&mut self.dropped)
    }

    fn is_mostly_done(&self) -> bool {
        self.length > COMPACT_ABOVE && self.length > 2 * self.bytes as u64
    }

    fn append_done(&mut self, number: u64) -> io::Result<()> {
        let line = line(&Record::Done(number))?;
        self.append(&line)
    }

    fn hold(&mut self, event: Waiting, length: usize) {
        self.bytes += length;
        self.waiting.push_back((event, length));
    }

    fn release(&mut self, number: u64) {
        while self.first().is_some_and(|first| first.number <= number) {
            self.pop();
        }
    }

    fn pop(&mut self) -> Option<Waiting> {
        let (event, length) = self.waiting.pop_front()?;
        self.bytes -= length;
        Some(event)
    }

    /// Drops the oldest beyond the bounds; the number of the last dropped.
    fn make_room(&mut self) -> Option<u64> {
        let mut last = None;
        while self.waiting.len() > self.limit || self.bytes > MAX_BYTES {
            last = self.pop().map(|event| event.number);
            self.dropped.full += 1;
        }
        last
    }

    /// A line that is only half there, on a full disk, would spoil the next one: the file is cut back.
    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let Some(file) = &mut self.file else {
            return self.rewrite();
        };
        match file.write_all(line) {
            Ok(()) => {
                self.length += line.len() as u64;
                Ok(())
            }
            Err(error) => {
                self.behind = true;
                let cut = file.set_len(self.length);
                _ = cut.and_then(|()| file.seek(SeekFrom::Start(self.length)).map(drop));
                Err(error)
            }
        }
    }

    /// Writes all that waits beside the file, and puts that in its place.
    fn rewrite(&mut self) -> io::Result<()> {
        self.behind = true;
        let mut text = line(&Record::Done(self.next - 1 - self.waiting.len() as u64))?;
        for (event, _) in &self.waiting {
            text.extend(line(&Record::Waiting(event.clone()))?);
        }
        let beside = self.path.with_extension("new");
        let mut file = private_file(&beside)?;
        file.write_all(&text)?;
        file.sync_all()?;
        std::fs::rename(&beside, &self.path)?;
        self.file = Some(file);
        self.length = text.len() as u64;
        self.behind = false;
        Ok(())
    }
}

/// A new empty file that nobody else can read: events say who is at home. What is there goes first, so that a link in its
/// place is not followed.
fn private_file(path: &Path) -> io::Result<File> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path)
}

fn line(record: &Record) -> io::Result<Vec<u8>> {
    let json = serde_json::to_string(record)?;
    Ok(format!("{} {json}\n", checksum(json.as_bytes())).into_bytes())
}

fn parse(line: &[u8]) -> Option<Record> {
    let (check, json) = line.split_at_checked(CHECK_DIGITS)?;
    let json = json.strip_prefix(b" ")?;
    (checksum(json).as_bytes() == check).then(|| serde_json::from_slice(json).ok())?
}

fn checksum(bytes: &[u8]) -> String {
    let digest = digest(&SHA256, bytes);
    let first = digest.as_ref().iter().take(CHECK_DIGITS / 2);
    first.map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(dir: &tempfile::TempDir) -> Queue {
        let (queue, error) = Queue::open(dir.path().join("t.queue"), 1000);
        assert!(error.is_none(), "{error:?}");
        queue
    }

    fn push(queue: &mut Queue, body: &str) {
        queue
            .push(body.to_owned(), "test", 1, body.to_owned())
            .unwrap();
    }

    fn bodies(queue: &Queue) -> Vec<&str> {
        queue
            .waiting
            .iter()
            .map(|(event, _)| event.body.as_str())
            .collect()
    }

    #[test]
    fn what_waits_is_there_again_and_what_is_done_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let mut queue = open(&dir);
        for body in ["a", "b", "c"] {
            push(&mut queue, body);
        }
        let first = queue.first().unwrap().number;
        queue.done(first).unwrap();
        drop(queue);
        let mut queue = open(&dir);
        assert_eq!(bodies(&queue), ["b", "c"]);
        push(&mut queue, "d");
        let numbers: Vec<u64> = queue
            .waiting
            .iter()
            .map(|(event, _)| event.number)
            .collect();
        assert_eq!(numbers, [1, 2, 3]);
        queue.done(3).unwrap();
        drop(queue);
        assert_eq!(open(&dir).len(), 0);
    }

    /// As a crash or a full disk leaves it: at every byte.
    #[test]
    fn a_file_cut_anywhere_loses_the_last_record_at_most() {
        let dir = tempfile::tempdir().unwrap();
        let mut queue = open(&dir);
        push(&mut queue, "one\nline");
        push(&mut queue, "two");
        let whole = std::fs::read(&queue.path).unwrap();
        let after_first = whole.len()
            - whole[..whole.len() - 1]
                .iter()
                .rev()
                .position(|b| *b == b'\n')
                .unwrap()
            - 1;
        for cut in 0..=whole.len() {
            std::fs::write(&queue.path, &whole[..cut]).unwrap();
            let (mut again, error) = Queue::open(queue.path.clone(), 1000);
            assert!(error.is_none());
            // The line break itself may be missing.
            let expected: &[&str] = match cut {
                cut if cut + 1 >= whole.len() => &["one\nline", "two"],
                cut if cut + 1 >= after_first => &["one\nline"],
                _ => &[],
            };
            assert_eq!(bodies(&again), expected, "cut at {cut}");
            push(&mut again, "later");
            drop(again);
            let (again, _) = Queue::open(queue.path.clone(), 1000);
            assert_eq!(bodies(&again).last(), Some(&"later"), "cut at {cut}");
        }
    }

    #[test]
    fn garbage_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.queue");
        let json =
            r#"{"Waiting":{"number":18446744073709551615,"id":"x","kind":"y","at":0,"body":"z"}}"#;
        let highest = format!("{} {json}\n", checksum(json.as_bytes()));
        for garbage in [
            &b"\xff\xfe\n\n \n0123456789abcdef {}\n"[..],
            &[0; 4096],
            b"\xe9",
        ] {
            std::fs::write(&path, garbage).unwrap();
            let mut queue = open(&dir);
            assert_eq!(queue.len(), 0);
            push(&mut queue, "a");
        }
        std::fs::write(&path, highest).unwrap();
        let mut queue = open(&dir);
        push(&mut queue, "a");
        assert_eq!(bodies(&queue), ["z", "a"]);
        queue.done(1).unwrap();
        assert_eq!(bodies(&queue), ["a"]);
    }

    #[test]
    fn the_oldest_make_room_and_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let (mut queue, _) = Queue::open(dir.path().join("t.queue"), 3);
        for body in ["a", "b", "c", "d", "e"] {
            push(&mut queue, body);
        }
        assert_eq!(bodies(&queue), ["c", "d", "e"]);
        assert_eq!(queue.take_dropped(), Dropped { full: 2, old: 0 });
        assert_eq!(queue.take_dropped(), Dropped::default());
        drop(queue);
        let (queue, _) = Queue::open(dir.path().join("t.queue"), 3);
        assert_eq!(bodies(&queue), ["c", "d", "e"]);
        drop(queue);
        let (mut queue, _) = Queue::open(dir.path().join("bytes.queue"), 1000);
        for _ in 0..20 {
            push(&mut queue, &"x".repeat(1 << 20));
        }
        // The helper makes the id as long as the body.
        assert_eq!((queue.len(), queue.dropped.full), (3, 17));
        assert!(queue.length < MAX_FILE, "{}", queue.length);
    }

    #[test]
    fn what_is_too_old_goes_and_stays_away() {
        let dir = tempfile::tempdir().unwrap();
        let mut queue = open(&dir);
        for at in 1..=4 {
            let body = at.to_string();
            queue.push(body.clone(), "test", at, body).unwrap();
        }
        queue.drop_before(3).unwrap();
        queue.drop_before(3).unwrap();
        assert_eq!(bodies(&queue), ["3", "4"]);
        assert_eq!(queue.take_dropped(), Dropped { full: 0, old: 2 });
        drop(queue);
        assert_eq!(bodies(&open(&dir)), ["3", "4"]);
    }

    #[test]
    fn the_file_of_a_receiver_that_never_comes_back_stays_small() {
        let dir = tempfile::tempdir().unwrap();
        let (mut queue, _) = Queue::open(dir.path().join("t.queue"), 10);
        for _ in 0..5000 {
            push(&mut queue, &"x".repeat(100));
            assert!(queue.length < 2 * COMPACT_ABOVE, "{}", queue.length);
        }
        assert_eq!(queue.len(), 10);
    }

    #[test]
    fn h11_a_planted_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        std::fs::write(&victim, "precious").unwrap();
        for planted in ["t.new", "t.queue"] {
            std::os::unix::fs::symlink(&victim, dir.path().join(planted)).unwrap();
        }
        push(&mut open(&dir), "a");
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
        assert_eq!(bodies(&open(&dir)), ["a"]);
    }

    #[test]
    fn the_file_stays_small_over_many_events() {
        let dir = tempfile::tempdir().unwrap();
        let mut queue = open(&dir);
        push(&mut queue, "stays in the queue for a moment");
        for _ in 0..5000 {
            push(&mut queue, &"x".repeat(100));
            let first = queue.first().unwrap().number;
            queue.done(first).unwrap();
            assert!(queue.length < 2 * COMPACT_ABOVE, "{}", queue.length);
        }
        assert_eq!(queue.len(), 1);
    }

    /// /dev/full takes nothing; so does a directory that is gone.
    #[test]
    fn on_a_full_disk_events_wait_in_memory_and_are_written_later() {
        let dir = tempfile::tempdir().unwrap();
        let mut queue = open(&dir);
        push(&mut queue, "a");
        queue.file = Some(OpenOptions::new().write(true).open("/dev/full").unwrap());
        let full = queue.push("b".to_owned(), "test", 1, "b".to_owned());
        assert_eq!(full.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(bodies(&queue), ["a", "b"]);
        push(&mut queue, "c");
        drop(queue);
        let queue = open(&dir);
        assert_eq!(bodies(&queue), ["a", "b", "c"]);
    }
}

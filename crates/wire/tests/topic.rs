//! Topic filters against an independent reference: h30.

use std::collections::HashSet;

use apiary_wire::topic::{TopicFilter, TopicFilterError};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// How many random pairs are compared.
const PAIRS: usize = 1_000_000;

/// The rules of MQTT 3.1.1 §4.7 once more, in another way: a table of which beginnings of the topic which beginning of
/// the filter matches.
fn reference_matches(filter: &str, topic: &str) -> bool {
    let is_wild = |level: &str| level == "+" || level == "#";
    let filter: Vec<&str> = filter.split('/').collect();
    let topic: Vec<&str> = topic.split('/').collect();
    if topic[0].starts_with('$') && is_wild(filter[0]) {
        return false;
    }
    // Whether the first levels of the filter, as many as were looked at, match the first `i` levels of the topic.
    let mut reached = vec![false; topic.len() + 1];
    reached[0] = true;
    for level in &filter {
        let before = reached.clone();
        for (i, reached) in reached.iter_mut().enumerate() {
            *reached = match *level {
                "#" => before[..=i].contains(&true),
                level => i > 0 && before[i - 1] && (level == "+" || topic[i - 1] == level),
            };
        }
    }
    reached[topic.len()]
}

fn level(random: &mut SmallRng, levels: &[&'static str]) -> &'static str {
    levels[random.random_range(0..levels.len())]
}

/// Mostly short ones, which often match, and some with 200 levels.
fn depth(random: &mut SmallRng) -> usize {
    match random.random_range(0..1000) {
        0 => 200,
        1..50 => random.random_range(6..20),
        _ => random.random_range(1..6),
    }
}

fn topic(random: &mut SmallRng) -> String {
    const LEVELS: [&str; 7] = ["a", "b", "", "$SYS", "$share", "prod", "ä"];
    let levels: Vec<_> = (0..depth(random)).map(|_| level(random, &LEVELS)).collect();
    let topic = levels.join("/");
    if topic.is_empty() {
        "a".to_owned()
    } else {
        topic
    }
}

/// Half of them are made of the topic itself, so that matches are not rare.
fn filter(random: &mut SmallRng, topic: &str) -> String {
    const LEVELS: [&str; 9] = ["a", "b", "", "$SYS", "$share", "prod", "ä", "+", "+"];
    let mut levels: Vec<&str> = if random.random() {
        topic.split('/').collect()
    } else {
        (0..depth(random)).map(|_| level(random, &LEVELS)).collect()
    };
    for level in &mut levels {
        if random.random_range(0..5) == 0 {
            *level = "+";
        }
    }
    if random.random_range(0..3) == 0 {
        levels.truncate(random.random_range(0..=levels.len()));
        levels.push("#");
    }
    let filter = levels.join("/");
    if filter.is_empty() {
        "+".to_owned()
    } else {
        filter
    }
}

#[test]
fn h30_a_million_random_pairs_match_as_in_the_reference() {
    let mut random = SmallRng::seed_from_u64(30);
    let mut matches = 0;
    for _ in 0..PAIRS {
        let topic = topic(&mut random);
        let filter = filter(&mut random, &topic);
        let expected = reference_matches(&filter, &topic);
        let found = TopicFilter::parse(&filter).unwrap().matches(&topic);
        assert_eq!(found, expected, "{filter} and {topic}");
        matches += usize::from(expected);
    }
    assert!(
        matches > PAIRS / 20,
        "only {matches} pairs match: the test says little"
    );
    assert!(
        matches < PAIRS - PAIRS / 20,
        "{matches} pairs match: the test says little"
    );
}

/// All texts of up to `depth` levels out of `levels`.
fn all(levels: &[&str], depth: usize) -> Vec<String> {
    let mut all: Vec<String> = levels.iter().map(|level| (*level).to_owned()).collect();
    let mut last = all.clone();
    for _ in 1..depth {
        last = last
            .iter()
            .flat_map(|begin| levels.iter().map(move |level| format!("{begin}/{level}")))
            .collect();
        all.extend(last.iter().cloned());
    }
    all.retain(|text| !text.is_empty());
    all
}

/// Covering means what it says: tried on every filter and topic of up to three levels, with one level more in the
/// topics and one name that no filter holds, so that whatever is not covered has a topic that shows it.
#[test]
fn h30_a_filter_covers_another_exactly_if_it_matches_all_its_topics() {
    let filters: Vec<String> = all(&["a", "", "$S", "+", "#"], 3)
        .into_iter()
        .filter(|filter| TopicFilter::parse(filter).is_ok())
        .collect();
    let mut topics = all(&["a", "", "$S", "other"], 4);
    // No topic of a message, but the parent of those that `/#` matches: covering is judged with it.
    topics.push(String::new());
    let sets: Vec<(TopicFilter, HashSet<usize>)> = filters
        .iter()
        .map(|filter| {
            let matched = (0..topics.len()).filter(|at| reference_matches(filter, &topics[*at]));
            (TopicFilter::parse(filter).unwrap(), matched.collect())
        })
        .collect();
    for (rule, allowed) in &sets {
        for (filter, matched) in &sets {
            let expected = matched.is_subset(allowed);
            assert_eq!(
                rule.covers(&filter.to_string()),
                expected,
                "{rule} over {filter}"
            );
        }
    }
}

#[test]
fn what_is_no_filter_is_refused_and_covered_by_none() {
    let long = "a".repeat(65_536);
    for (text, error) in [
        ("", TopicFilterError::Empty),
        (long.as_str(), TopicFilterError::TooLong),
        ("a\0", TopicFilterError::Nul),
        ("a/#/b", TopicFilterError::Wildcard),
        ("a#", TopicFilterError::Wildcard),
        ("a+/b", TopicFilterError::Wildcard),
        ("++", TopicFilterError::Wildcard),
        ("##", TopicFilterError::Wildcard),
    ] {
        assert_eq!(TopicFilter::parse(text), Err(error), "{:.20}", text);
        assert!(
            !TopicFilter::parse("#").unwrap().covers(text),
            "{:.20}",
            text
        );
    }
    let all = TopicFilter::parse("#").unwrap();
    for no_topic in ["", "a/+", "#", "a\0"] {
        assert!(!all.matches(no_topic), "{no_topic:?}");
    }
}

//! Changes that leave text readable, so that what lies behind the parsers is reached too.

use ampacity_placement::numerics::SplitMix64;

/// Numbers at which arithmetic goes wrong.
pub const HOSTILE: [&str; 24] = [
    "0",
    "1",
    "-1",
    "2",
    "7",
    "8",
    "1000",
    "1024",
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "18446744073709551615",
    "999999999999.999999",
    "0.000001",
    "1e300",
    "-0.0",
    "1e-300",
    ".nan",
    "null",
    "1Ei",
];

/// Largest number of pieces looked at in one change.
const MOST_PIECES: usize = 100_000;

/// Numbers from a seed.
#[derive(Clone, Debug)]
struct Random(SplitMix64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        (self.0.next_u64() % end.max(1) as u64) as usize
    }
}

/// The text with one change: a word replaced by a hostile number or by another word of the text, or a line removed, repeated or moved.
/// `None` where there is nothing to change.
pub fn changed(text: &[u8], seed: u32) -> Option<Vec<u8>> {
    let mut random = Random(SplitMix64::new(u64::from(seed)));
    match random.below(8) {
        0..=2 => {
            let words = words(text);
            let &word = words.get(random.below(words.len()))?;
            let hostile = HOSTILE.get(random.below(HOSTILE.len()))?;
            Some(replaced(text, word, hostile.as_bytes()))
        }
        3 | 4 => {
            let words = words(text);
            let &word = words.get(random.below(words.len()))?;
            let &(start, end) = words.get(random.below(words.len()))?;
            Some(replaced(text, word, text.get(start..end)?))
        }
        kind => {
            let lines = lines(text);
            let &(start, end) = lines.get(random.below(lines.len()))?;
            let line = text.get(start..end)?.to_vec();
            if kind == 5 {
                return Some(replaced(text, (start, end), b""));
            }
            // A line, or all lines to another one.
            let &(_, until) = lines.get(random.below(lines.len()))?;
            let block = match text.get(start..until) {
                Some(block) if kind == 7 && block.len() < 4096 => block.to_vec(),
                _ => line,
            };
            let &(at, _) = lines.get(random.below(lines.len()))?;
            Some(replaced(text, (at, at), &block))
        }
    }
}

/// Runs of letters, digits, signs and points.
fn words(text: &[u8]) -> Vec<(usize, usize)> {
    let part = |byte: u8| byte.is_ascii_alphanumeric() || b".-_/".contains(&byte);
    let mut words = Vec::new();
    let mut start = None;
    for (at, &byte) in text.iter().chain(b" ").enumerate() {
        match (part(byte), start) {
            (true, None) => start = Some(at),
            (false, Some(from)) => {
                words.push((from, at));
                start = None;
            }
            _ => {}
        }
        if words.len() >= MOST_PIECES {
            break;
        }
    }
    words
}

/// Lines with their ends.
fn lines(text: &[u8]) -> Vec<(usize, usize)> {
    let mut lines = Vec::new();
    let mut start = 0;
    for line in text
        .split_inclusive(|&byte| byte == b'\n')
        .take(MOST_PIECES)
    {
        lines.push((start, start + line.len()));
        start += line.len();
    }
    lines
}

fn replaced(text: &[u8], (start, end): (usize, usize), by: &[u8]) -> Vec<u8> {
    let before = text.get(..start).unwrap_or_default();
    let after = text.get(end..).unwrap_or_default();
    [before, by, after].concat()
}

/// Makes one change in place, as libFuzzer's custom mutators do; the new length, at most `most`. `None` where there is nothing to
/// change or no room.
pub fn change(data: &mut [u8], size: usize, most: usize, seed: u32) -> Option<usize> {
    let new = changed(data.get(..size)?, seed)?;
    let most = most.min(data.len());
    if new.len() > most {
        return None;
    }
    data.get_mut(..new.len())?.copy_from_slice(&new);
    Some(new.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_is_one_and_some_are_hostile() {
        let text = b"spec:\n  replicas: 4\n  name: a\n";
        let all: Vec<Vec<u8>> = (0..5000).filter_map(|seed| changed(text, seed)).collect();
        let has = |wanted: &str| all.iter().any(|new| new == wanted.as_bytes());
        assert!(has("spec:\n  replicas: 4\n"));
        assert!(has("spec:\n  replicas: -1\n  name: a\n"));
        assert!(has("spec:\n  replicas: 4\n  name: a\n  name: a\n"));
        assert!(has("spec:\n  replicas: spec\n  name: a\n"));
    }

    #[test]
    fn it_never_leaves_the_buffer() {
        for seed in 0..2000 {
            let mut data = *b"a: 1\nb: 2\n..........";
            let new = change(&mut data, 10, 14, seed);
            assert!(new.is_none_or(|new| new <= 14));
            assert_eq!(change(&mut [], 0, 0, seed), None);
        }
    }
}

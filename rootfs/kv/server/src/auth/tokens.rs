//! etcd's simple tokens: random letters, a dot, and the index of the log's entry that gave
//! them out. Each member makes them of the entry, so a token is good at all of them; each
//! counts by itself how long it was not used. A restart forgets those that the database has
//! seen; clients then ask for new ones.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Letters of a token (etcd: `defaultSimpleTokenLength`).
const LETTERS: usize = 16;
const ALPHABET: &[u8; 52] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// The tokens that a member knows.
#[derive(Debug, Default)]
pub struct Tokens {
    tokens: Mutex<HashMap<String, Held>>,
    applied: AtomicU64,
}

#[derive(Debug)]
struct Held {
    user: String,
    ttl: Duration,
    ends: Instant,
}

/// What a member knows of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// Whose it is.
    User(String),
    /// Its entry is not applied here yet.
    Ahead,
    /// It was never given out, or is no longer good.
    No,
}

impl Tokens {
    /// The first part of a token.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn random() -> Result<String, getrandom::Error> {
        let mut letters = String::with_capacity(LETTERS);
        let mut bytes = [0; 2 * LETTERS];
        while letters.len() < LETTERS {
            getrandom::fill(&mut bytes)?;
            // Those of the last, broken part of the range would make some letters likelier.
            let fair = bytes.iter().map(|byte| usize::from(*byte)).filter(|byte| *byte < 4 * ALPHABET.len());
            letters.extend(
                fair.map(|byte| char::from(ALPHABET[byte % ALPHABET.len()])).take(LETTERS - letters.len()),
            );
        }
        Ok(letters)
    }

    /// A token was given out.
    pub fn assign(&self, token: String, user: String, ttl: Duration) {
        let now = Instant::now();
        let mut tokens = self.lock();
        tokens.retain(|_, held| held.ends > now);
        tokens.insert(token, Held { user, ttl, ends: now + ttl });
    }

    /// Whose a token is; it is good for its whole time again.
    pub fn find(&self, token: &str) -> Known {
        // Before looking: what is applied meanwhile is found the second time.
        let applied = self.applied.load(Ordering::Acquire);
        let now = Instant::now();
        let mut tokens = self.lock();
        match tokens.get_mut(token) {
            Some(held) if held.ends > now => {
                held.ends = now + held.ttl;
                Known::User(held.user.clone())
            }
            Some(_) => Known::No,
            None => match token.rsplit_once('.').map(|(_, index)| index.parse::<u64>()) {
                Some(Ok(index)) if index > applied => Known::Ahead,
                _ => Known::No,
            },
        }
    }

    /// A user's tokens are no longer good.
    pub fn forget(&self, user: &str) {
        self.lock().retain(|_, held| held.user != user);
    }

    /// No token is good any more.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// Entries were applied up to and with this index.
    pub fn applied(&self, index: u64) {
        self.applied.store(index, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Held>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_mins(5);

    #[tokio::test(start_paused = true)]
    async fn a_token_lives_as_long_as_it_is_used() {
        let tokens = Tokens::default();
        let user = Known::User("u".to_owned());
        tokens.assign("abc.7".to_owned(), "u".to_owned(), TTL);
        tokens.applied(7);
        for _ in 0..3 {
            tokio::time::advance(TTL / 2 + TTL / 4).await;
            assert_eq!(tokens.find("abc.7"), user);
        }
        tokio::time::advance(TTL).await;
        assert_eq!(tokens.find("abc.7"), Known::No);
        tokens.assign("def.9".to_owned(), "u".to_owned(), TTL);
        assert_eq!(tokens.lock().len(), 1, "what has ended is not kept");
        for (token, known) in
            [("abc.8", Known::Ahead), ("abc.3", Known::No), ("abc", Known::No), ("abc.x", Known::No)]
        {
            assert_eq!(tokens.find(token), known, "{token}");
        }
        tokens.forget("v");
        assert_eq!(tokens.find("def.9"), user);
        tokens.forget("u");
        assert_eq!(tokens.find("def.9"), Known::Ahead, "as far as is known here");
    }

    #[test]
    fn tokens_are_letters_and_never_twice() {
        let tokens: std::collections::HashSet<_> = (0..1000).map(|_| Tokens::random().unwrap()).collect();
        assert_eq!(tokens.len(), 1000);
        for token in tokens {
            assert!(
                token.len() == LETTERS && token.bytes().all(|letter| letter.is_ascii_alphabetic()),
                "{token}"
            );
        }
    }
}

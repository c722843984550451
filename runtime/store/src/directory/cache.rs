//! What a directory said lately, so that it is not asked the same thing again and again.
//!
//! Nothing is believed for longer than the configuration says. One question is asked once at a time: whoever asks the
//! same meanwhile waits for that answer. A directory that did not answer is left alone for [`REST`], so that a queue
//! full of mail for it does not wait for it once a message.

use super::{Access, Directory, Found, Person};
use crate::error::{Cause, StoreError};
use crate::lookup::Clock;
use crate::password;
use aws_lc_rs::{hmac, rand};
use schema::name::Address;
use schema::unit::Period;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Answers remembered of each kind; past that the old ones are forgotten, then all.
const ANSWERS_MOST: usize = 50_000;
/// Questions under way that are remembered before those that nobody waits for are cleared away.
const FLIGHTS_MOST: usize = 10_000;
/// How long a directory that did not answer is not asked again, in milliseconds.
const REST: i64 = 1000;

type Flight<V> = Arc<tokio::sync::Mutex<Option<Result<Option<V>, StoreError>>>>;

/// Answers of one kind.
struct Answers<K, V> {
    /// What was said, and until when that is believed, in milliseconds since 1970.
    known: Mutex<HashMap<K, (Option<V>, i64)>>,
    flights: Mutex<HashMap<K, Flight<V>>>,
}

/// A directory behind what it said lately.
pub struct Cached {
    directory: Arc<dyn Directory>,
    clock: Clock,
    /// How long an answer is believed, and one that says "nobody", in milliseconds.
    ages: (i64, i64),
    found: Answers<Address, Found>,
    people: Answers<String, Arc<Person>>,
    /// Right passwords, as an HMAC under a key of this process, and until when.
    right: Mutex<HashMap<[u8; 32], i64>>,
    key: Option<hmac::Key>,
    /// Why it did not answer, and until when it is left alone.
    down: Mutex<Option<(StoreError, i64)>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes room for one more entry.
fn make_room<K: Hash + Eq, V>(entries: &mut HashMap<K, V>, until: impl Fn(&V) -> i64, now: i64) {
    if entries.len() >= ANSWERS_MOST {
        entries.retain(|_, entry| until(entry) > now);
        if entries.len() >= ANSWERS_MOST {
            entries.clear();
        }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Answers<K, V> {
    fn new() -> Answers<K, V> {
        Answers { known: Mutex::default(), flights: Mutex::default() }
    }

    async fn ask(
        &self,
        key: &K,
        cached: &Cached,
        asking: impl Future<Output = Result<Option<V>, StoreError>>,
    ) -> Result<Option<V>, StoreError> {
        if let Some((answer, _)) = lock(&self.known).get(key).filter(|(_, until)| *until > (cached.clock)()) {
            return Ok(answer.clone());
        }
        let flight = {
            let mut flights = lock(&self.flights);
            if flights.len() >= FLIGHTS_MOST {
                flights.retain(|_, flight| Arc::strong_count(flight) > 1);
            }
            Arc::clone(flights.entry(key.clone()).or_default())
        };
        let mut landed = flight.lock().await;
        if let Some(answer) = &*landed {
            return answer.clone();
        }
        let answer = match cached.resting() {
            Some(error) => Err(error),
            None => asking.await,
        };
        if let Ok(answer) = &answer {
            let (age, negative) = cached.ages;
            let now = (cached.clock)();
            let until = now.saturating_add(if answer.is_some() { age } else { negative });
            let mut known = lock(&self.known);
            make_room(&mut known, |(_, until)| *until, now);
            known.insert(key.clone(), (answer.clone(), until));
        }
        cached.noted(answer.as_ref().err());
        *landed = Some(answer.clone());
        lock(&self.flights).remove(key);
        answer
    }
}

impl Cached {
    /// A directory of which nothing is known yet; answers are believed for `age`, and "nobody" for `negative`.
    pub fn new(directory: Arc<dyn Directory>, (age, negative): (Period, Period), clock: Clock) -> Cached {
        let milliseconds = |period: Period| i64::try_from(period.duration().as_millis()).unwrap_or(i64::MAX);
        let mut key = [0; 32];
        let key = rand::fill(&mut key).ok().map(|()| hmac::Key::new(hmac::HMAC_SHA256, &key));
        Cached {
            directory,
            clock,
            ages: (milliseconds(age), milliseconds(negative)),
            found: Answers::new(),
            people: Answers::new(),
            right: Mutex::default(),
            key,
            down: Mutex::default(),
        }
    }

    /// See [`Directory::name`].
    pub fn name(&self) -> &str {
        self.directory.name()
    }

    /// See [`Directory::find`].
    ///
    /// # Errors
    /// The directory's.
    pub async fn find(&self, address: &Address) -> Result<Option<Found>, StoreError> {
        self.found.ask(address, self, self.directory.find(address)).await
    }

    /// See [`Directory::person`].
    ///
    /// # Errors
    /// The directory's.
    pub async fn person(&self, login: &str) -> Result<Option<Arc<Person>>, StoreError> {
        self.people.ask(&login.to_owned(), self, self.directory.person(login)).await
    }

    /// See [`Directory::proves`].
    ///
    /// # Errors
    /// The directory's.
    pub async fn proves(&self, person: &Person, password: &str) -> Result<Option<bool>, StoreError> {
        if let Some(error) = self.resting() {
            return Err(error);
        }
        let answer = self.directory.proves(person, password).await;
        self.noted(answer.as_ref().err());
        answer
    }

    /// Has a password that was right for a service kept as it would be kept today, where it is kept otherwise and the directory lets
    /// itself be written. Of somebody with several passwords none is: it cannot be told which one was right.
    ///
    /// # Errors
    /// The directory's, and [`StoreError::Unavailable`] where nothing can be hashed now.
    pub async fn renew(&self, person: &Person, (password, access): (&str, Access)) -> Result<(), StoreError> {
        if !self.directory.is_written() {
            return Ok(());
        }
        let mut hashes = person.proofs.iter().filter(|proof| password::scram(&proof.secret).is_none());
        let (Some(old), None) = (hashes.next(), hashes.next()) else { return Ok(()) };
        // One of another service is another password: a verifier was right, and not it.
        if !old.scope.has(access) || password::is_argon2id(&old.secret) {
            return Ok(());
        }
        let given = password.to_owned();
        let made = tokio::task::spawn_blocking(move || password::fresh(&given)).await.ok().flatten();
        let why = || StoreError::Unavailable(Cause::new("no password can be hashed now"));
        let (hash, verifier) = made.ok_or_else(why)?;
        if self.directory.renew(person, &old.secret, (&hash, &verifier)).await? {
            lock(&self.people.known).remove(&person.login);
        }
        Ok(())
    }

    /// Whether this password was right for this service a little while ago.
    pub fn was_right(&self, person: &Person, given: (&str, Access)) -> bool {
        let print = self.print(person, given);
        print.is_some_and(|print| lock(&self.right).get(&print).is_some_and(|until| *until > (self.clock)()))
    }

    /// Remembers that this password is right, as long as answers are believed.
    pub fn is_right(&self, person: &Person, given: (&str, Access)) {
        if let Some(print) = self.print(person, given) {
            let now = (self.clock)();
            let mut right = lock(&self.right);
            make_room(&mut right, |until| *until, now);
            right.insert(print, now.saturating_add(self.ages.0));
        }
    }

    /// With the hashes that hold for the service, so that a changed password is not believed because the old one was.
    fn print(&self, person: &Person, (password, access): (&str, Access)) -> Option<[u8; 32]> {
        let mut tag = hmac::Context::with_key(self.key.as_ref()?);
        let secrets = person.secrets(access).join("\0");
        for part in [person.address.to_string().as_str(), &person.place, &secrets, password] {
            tag.update(&(part.len() as u64).to_be_bytes());
            tag.update(part.as_bytes());
        }
        tag.sign().as_ref().try_into().ok()
    }

    fn resting(&self) -> Option<StoreError> {
        let down = lock(&self.down);
        down.as_ref().filter(|(_, until)| *until > (self.clock)()).map(|(error, _)| error.clone())
    }

    fn noted(&self, error: Option<&StoreError>) {
        let mut down = lock(&self.down);
        match error {
            // One who was told to wait does not prolong the wait.
            Some(error @ StoreError::Unavailable(_)) => {
                let now = (self.clock)();
                if down.as_ref().is_none_or(|(_, until)| *until <= now) {
                    *down = Some((error.clone(), now.saturating_add(REST)));
                }
            }
            Some(_) => {}
            None => *down = None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{Proof, Scope};
    use super::*;
    use async_trait::async_trait;
    use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

    /// Counts what it is asked, and knows ada alone.
    #[derive(Default)]
    struct Counting {
        asked: AtomicUsize,
        down: AtomicBool,
        renewed: AtomicUsize,
    }

    #[async_trait]
    impl Directory for Counting {
        fn name(&self) -> &str {
            "a directory that counts"
        }
        async fn check(&self) -> Result<(), StoreError> {
            Ok(())
        }
        async fn find(&self, address: &Address) -> Result<Option<Found>, StoreError> {
            Ok(self.person(&address.to_string()).await?.map(Found::Person))
        }
        async fn person(&self, login: &str) -> Result<Option<Arc<Person>>, StoreError> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            if self.down.load(Ordering::SeqCst) {
                return Err(StoreError::Unavailable(Cause::new("down")));
            }
            Ok((login == "ada@example.org").then(|| Arc::new(ada())))
        }
        async fn proves(&self, _: &Person, _: &str) -> Result<Option<bool>, StoreError> {
            Ok(None)
        }
        fn is_written(&self) -> bool {
            true
        }
        async fn renew(&self, _: &Person, _: &str, _: (&str, &str)) -> Result<bool, StoreError> {
            self.renewed.fetch_add(1, Ordering::SeqCst);
            Ok(true)
        }
    }

    fn proofs(secret: &str) -> Vec<Proof> {
        vec![Proof { secret: secret.to_owned(), scope: Scope::of([Access::Imap, Access::Pop3]) }]
    }

    fn ada() -> Person {
        Person {
            address: "ada@example.org".parse().unwrap(),
            login: "ada@example.org".to_owned(),
            name: String::new(),
            aliases: Vec::new(),
            groups: Vec::new(),
            quota: None,
            proofs: proofs("one"),
            suspended: false,
            place: String::new(),
        }
    }

    fn cached() -> (Arc<Counting>, Arc<AtomicI64>, Cached) {
        let counting = Arc::new(Counting::default());
        let time = Arc::new(AtomicI64::new(1000));
        let shared = Arc::clone(&time);
        let clock: Clock = Arc::new(move || shared.load(Ordering::SeqCst));
        let cached = Cached::new(Arc::clone(&counting) as Arc<dyn Directory>, (Period(60), Period(10)), clock);
        (counting, time, cached)
    }

    #[tokio::test]
    async fn an_answer_is_believed_for_its_time_and_nobody_for_less() {
        let (counting, time, cached) = cached();
        for (login, there) in [("ada@example.org", true), ("bob@example.org", false)] {
            for _ in 0..3 {
                assert_eq!(cached.person(login).await.unwrap().is_some(), there);
            }
        }
        assert_eq!(counting.asked.load(Ordering::SeqCst), 2);
        time.store(1000 + 10_000, Ordering::SeqCst);
        for login in ["ada@example.org", "bob@example.org"] {
            cached.person(login).await.unwrap();
        }
        assert_eq!(counting.asked.load(Ordering::SeqCst), 3, "nobody was asked for again");
        time.store(1000 + 60_000, Ordering::SeqCst);
        cached.person("ada@example.org").await.unwrap();
        assert_eq!(counting.asked.load(Ordering::SeqCst), 4);
    }

    #[tokio::test]
    async fn the_same_question_is_asked_once_at_a_time() {
        let (counting, _, cached) = cached();
        let asked = (0..50).map(|_| cached.person("ada@example.org"));
        let answers = futures_util::future::join_all(asked).await;
        assert!(answers.iter().all(|answer| answer.as_ref().unwrap().is_some()));
        assert_eq!(counting.asked.load(Ordering::SeqCst), 1);
        assert!(lock(&cached.people.flights).is_empty());
    }

    #[tokio::test]
    async fn one_that_does_not_answer_is_left_alone_for_a_moment_and_no_failure_is_remembered_for_longer() {
        let (counting, time, cached) = cached();
        counting.down.store(true, Ordering::SeqCst);
        for login in ["ada@example.org", "bob@example.org", "eve@example.org"] {
            assert!(matches!(cached.person(login).await, Err(StoreError::Unavailable(_))));
        }
        assert_eq!(counting.asked.load(Ordering::SeqCst), 1);
        counting.down.store(false, Ordering::SeqCst);
        assert!(cached.person("ada@example.org").await.is_err());
        time.fetch_add(REST, Ordering::SeqCst);
        assert!(cached.person("ada@example.org").await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_right_password_is_believed_until_the_hash_changes_or_its_time_is_over() {
        let (_, time, cached) = cached();
        let given = ("secret", Access::Imap);
        cached.is_right(&ada(), given);
        assert!(cached.was_right(&ada(), given) && !cached.was_right(&ada(), ("Secret", Access::Imap)));
        assert!(cached.was_right(&ada(), ("secret", Access::Pop3)), "by the same hash");
        assert!(!cached.was_right(&ada(), ("secret", Access::Submission)));
        assert!(!cached.was_right(&Person { proofs: proofs("two"), ..ada() }, given));
        time.fetch_add(60_000, Ordering::SeqCst);
        assert!(!cached.was_right(&ada(), given));
    }

    #[tokio::test]
    async fn a_hash_is_kept_anew_only_by_a_password_of_its_own_service() {
        let (counting, _, cached) = cached();
        for (service, renewed) in [(Access::Submission, 0), (Access::Imap, 1)] {
            cached.renew(&ada(), ("secret", service)).await.unwrap();
            assert_eq!(counting.renewed.load(Ordering::SeqCst), renewed);
        }
    }
}

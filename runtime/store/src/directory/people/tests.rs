#![allow(clippy::unwrap_used)]
use super::*;
use crate::directory::Access;
use crate::kv::KeyRange;
use crate::kv::strict::tests::databases;
use std::sync::atomic::{AtomicI64, Ordering};

struct Ground {
    people: People,
    other: People,
    data: Arc<dyn KeyValue>,
    time: Arc<AtomicI64>,
}

/// Two servers on one database, of each kind.
async fn grounds() -> Vec<Ground> {
    let two = |data: Arc<dyn KeyValue>| {
        let time = Arc::new(AtomicI64::new(1_111_111_111_000));
        let shared = Arc::clone(&time);
        let clock: Clock = Arc::new(move || shared.load(Ordering::SeqCst));
        let made = || People::new(Arc::clone(&data), Arc::clone(&clock));
        Ground { people: made(), other: made(), data: Arc::clone(&data), time }
    };
    databases().await.into_iter().map(two).collect()
}

fn at(address: &str) -> Address {
    address.parse().unwrap()
}

fn kept(aliases: &[&str]) -> Kept {
    Kept { aliases: aliases.iter().map(|alias| at(alias)).collect(), ..Kept::default() }
}

fn whom(account: &Address) -> Whom<'_> {
    Whom { account, kept: true, stamp: None }
}

#[tokio::test]
async fn a_person_is_packed_and_read_again() {
    for Ground { people, other, .. } in grounds().await {
        let ada = at("ada@example.org");
        let secrets = Secrets::of_password("a long enough password".to_owned()).await.unwrap();
        let kept = Kept { name: "Ada".into(), quota: Some(5), secrets, ..kept(&["b@example.org", "a@example.net"]) };
        people.create(&ada, kept, false).await.unwrap();
        let until = Some(5);
        people.add_app_password(whom(&ada), "phone", (Scope::of([Access::Imap]), until)).await.unwrap();
        people.begin_totp(whom(&ada)).await.unwrap();
        let entry = people.entry(&ada).await.unwrap();
        assert_eq!(Entry::read(&entry.write()).unwrap(), entry);
        assert_eq!(other.entry(&ada).await.unwrap(), entry);
        assert!(matches!(Entry::read(&entry.write()[..60]), Err(StoreError::Corrupt { .. })));
        assert_eq!(entry.kept.unwrap().aliases, [at("a@example.net"), at("b@example.org")]);
    }
}

#[tokio::test]
async fn of_those_who_claim_an_address_at_once_one_gets_it() {
    for Ground { people, other, .. } in grounds().await {
        let wanted = at("wanted@example.org");
        for round in 0..20 {
            let (a, b) = (at(&format!("a{round}@example.org")), at(&format!("b{round}@example.org")));
            let (one, two, three) = tokio::join!(
                people.create(&a, kept(&["wanted@example.org"]), false),
                other.create(&b, kept(&["wanted@example.org"]), false),
                other.create(&wanted, kept(&[]), false),
            );
            let all = [one, two, three];
            assert_eq!(all.iter().filter(|made| made.is_ok()).count(), 1, "{all:?}");
            assert!(all.iter().all(|made| matches!(made, Ok(_) | Err(PeopleError::Taken(_)))));
            let owner = people.whose(&wanted).await.unwrap().unwrap();
            people.remove(whom(&owner)).await.unwrap();
            assert_eq!(people.whose(&wanted).await.unwrap(), None);
        }
    }
}

#[tokio::test]
async fn aliases_move_from_one_person_to_another_and_nothing_stays_behind() {
    for Ground { people, data, .. } in grounds().await {
        let (ada, bob) = (at("ada@example.org"), at("bob@example.org"));
        people.create(&ada, kept(&["x@example.org"]), false).await.unwrap();
        people.create(&bob, kept(&[]), false).await.unwrap();
        let taken = Update { aliases: Some(vec![at("x@example.org")]), ..Update::default() };
        assert!(matches!(people.update(whom(&bob), &taken).await, Err(PeopleError::Taken(_))));
        let stamp = people.entry(&ada).await.unwrap().stamp;
        let none = Update { aliases: Some(Vec::new()), ..Update::default() };
        people.update(whom(&ada), &none).await.unwrap();
        let late = Whom { stamp: Some(stamp), ..whom(&ada) };
        assert!(matches!(people.remove(late).await, Err(PeopleError::Changed)));
        people.update(whom(&bob), &taken).await.unwrap();
        assert_eq!(people.whose(&at("x@example.org")).await.unwrap(), Some(bob.clone()));
        let many = Update {
            aliases: Some((0..=ALIASES_MOST).map(|n| at(&format!("n{n}@example.org"))).collect()),
            ..Update::default()
        };
        assert!(matches!(people.update(whom(&bob), &many).await, Err(PeopleError::TooMany { .. })));
        for person in [&ada, &bob] {
            people.remove(whom(person)).await.unwrap();
        }
        assert!(data.scan(KeyRange::prefix(b"P"), Page::first(10)).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_former_persons_mailbox_is_not_given_away_unasked() {
    for Ground { people, data, .. } in grounds().await {
        let ada = at("ada@example.org");
        let mut batch = Batch::new();
        batch.put(keys::account(&ada), "a mailbox");
        data.commit(batch).await.unwrap();
        assert!(matches!(people.create(&ada, kept(&[]), false).await, Err(PeopleError::MailLies)));
        people.create(&ada, kept(&[]), true).await.unwrap();
    }
}

#[tokio::test]
async fn an_app_password_opens_what_it_is_for_until_it_ends() {
    for Ground { people, time, .. } in grounds().await {
        let ada = at("ada@example.org");
        people.create(&ada, kept(&[]), false).await.unwrap();
        assert!(!people.some_need_plain().await.unwrap());
        let until = Some(people.now() + 1000);
        let (made, shown) =
            people.add_app_password(whom(&ada), "phone", (Scope::of([Access::Imap]), until)).await.unwrap();
        assert!(people.some_need_plain().await.unwrap());
        assert_eq!(shown.len(), 29);
        let entry = people.entry(&ada).await.unwrap();
        let opens = |entry: &Entry, whose: &Address, given: &str, access: Access| {
            let given = Given::read(given).unwrap();
            entry.opened_by(whose, &given, (access, people.now())).is_some()
        };
        assert!(opens(&entry, &ada, &shown, Access::Imap));
        assert!(opens(&entry, &ada, &shown.replace('-', "").to_uppercase(), Access::Imap));
        assert!(!opens(&entry, &ada, &shown, Access::Submission));
        assert!(!opens(&entry, &at("bob@example.org"), &shown, Access::Imap));
        assert!(Given::read("correct horse battery staple").is_none());
        time.fetch_add(1000, Ordering::SeqCst);
        assert!(!opens(&entry, &ada, &shown, Access::Imap));
        people.remove_app_password(whom(&ada), made.id).await.unwrap();
        assert!(matches!(people.remove_app_password(whom(&ada), made.id).await, Err(PeopleError::Missing)));
        assert!(!people.some_need_plain().await.unwrap());
    }
}

#[tokio::test]
async fn a_hash_from_elsewhere_becomes_ours_when_its_password_is_right() {
    for Ground { people, .. } in grounds().await {
        let ada = at("ada@example.org");
        let foreign = Secrets::foreign("{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=").unwrap();
        people.create(&ada, Kept { secrets: foreign, ..kept(&[]) }, false).await.unwrap();
        // Who has no verifier would be locked out where SCRAM is offered.
        assert!(people.some_need_plain().await.unwrap());
        let entry = people.entry(&ada).await.unwrap();
        people.renew((&ada, false), &entry, "secret").await.unwrap();
        let renewed = people.entry(&ada).await.unwrap();
        let texts = renewed.kept.as_ref().unwrap().secrets.texts();
        assert!(texts[0].starts_with("$argon2id$") && texts[1].starts_with("SCRAM-SHA-256$"));
        assert!(texts.iter().all(|text| crate::password::matches("secret", text)));
        assert!(!people.some_need_plain().await.unwrap());
        // A password that was set meanwhile is not overwritten.
        people.set_secrets(whom(&ada), &Secrets::foreign("{SHA}AAAAAAAAAAAAAAAAAAAAAAAAAAA=").unwrap()).await.unwrap();
        let before = people.entry(&ada).await.unwrap();
        people.renew((&ada, false), &entry, "secret").await.unwrap();
        assert_eq!(people.entry(&ada).await.unwrap(), before);
        assert!(Secrets::foreign("secret").is_none() && Secrets::foreign("{PLAIN}secret").is_none());
    }
}

#[tokio::test]
async fn a_second_factor_counts_once_it_is_confirmed_and_no_code_twice() {
    for Ground { people, .. } in grounds().await {
        // Somebody of the spec, of whom nothing is kept yet.
        let ada = at("ada@example.org");
        let whom = Whom { kept: false, ..whom(&ada) };
        assert!(matches!(people.take_code(whom, "123456").await, Err(PeopleError::Missing)));
        people.begin_totp(whom).await.unwrap();
        let secret = people.begin_totp(whom).await.unwrap();
        let mut codes = (0..1_000_000).map(|n| format!("{n:06}"));
        let right = codes.find(|code| totp::step_of(&secret, code, people.now(), 0).is_some()).unwrap();
        let wrong = if right == "000000" { "000001" } else { "000000" };
        assert!(matches!(people.take_code(whom, wrong).await, Err(PeopleError::WrongCode)));
        assert!(!people.entry(&ada).await.unwrap().totp.unwrap().confirmed);
        people.take_code(whom, &right).await.unwrap();
        assert!(people.entry(&ada).await.unwrap().totp.unwrap().confirmed);
        assert!(matches!(people.take_code(whom, &right).await, Err(PeopleError::WrongCode)));
        assert!(matches!(people.begin_totp(whom).await, Err(PeopleError::Confirmed)));
        people.remove_totp(whom).await.unwrap();
        assert_eq!(people.entry(&ada).await.unwrap(), Entry::default());
    }
}

#[tokio::test]
async fn pages_hold_the_people_of_one_domain_in_order() {
    for Ground { people, .. } in grounds().await {
        for n in [3, 1, 2] {
            people.create(&at(&format!("p{n}@example.org")), kept(&[]), false).await.unwrap();
            people.create(&at(&format!("p{n}@example.org.example")), kept(&[]), false).await.unwrap();
        }
        people.begin_totp(Whom { account: &at("p15@example.org"), kept: false, stamp: None }).await.unwrap();
        let domain = "example.org".parse().unwrap();
        let locals = |page: Vec<(Address, Entry)>| {
            page.iter().map(|(address, _)| address.to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(locals(people.page(&domain, None, 2).await.unwrap()), "p1@example.org p2@example.org");
        let after = "p1".parse().unwrap();
        assert_eq!(locals(people.page(&domain, Some(&after), 9).await.unwrap()), "p2@example.org p3@example.org");
    }
}

/// A row of before people could be suspended and have a password in place of the spec's.
#[test]
fn a_row_of_an_older_server_is_read() {
    let mut row = crate::row::Packer::new(1);
    row.u64(7).u8(1).text("Ada").option(Some("$argon2id$x")).option(None).u8(1).u64(5).u32(1).text("a@example.org");
    row.u32(0).u8(0);
    let entry = Entry::read(&row.done()).unwrap();
    let kept = entry.kept.clone().unwrap();
    assert_eq!((entry.stamp, kept.name.as_str(), kept.quota, kept.suspended), (7, "Ada", Some(5), false));
    assert_eq!((kept.aliases, entry.own.clone(), kept.secrets.are_there()), (vec![at("a@example.org")], None, true));
    assert_eq!(Entry::read(&entry.write()).unwrap(), entry);
}

#[tokio::test]
async fn a_password_in_place_of_the_specs_counts_until_the_spec_gives_another() {
    for Ground { people, .. } in grounds().await {
        let ada = at("ada@example.org");
        let of_spec = |hash: &str, suspended| schema::config::Account {
            address: ada.clone(),
            name: String::new(),
            credentials: vec![schema::spec::Credential::Hash(hash.to_owned())],
            app_passwords: Vec::new(),
            suspended,
            aliases: Vec::new(),
            quota: None,
        };
        let (first, second) = (Print::of(&of_spec("one", false)).unwrap(), Print::of(&of_spec("two", false)).unwrap());
        assert_eq!(Print::of(&of_spec("one", true)), None);
        let whom = Whom { kept: false, ..whom(&ada) };
        let secrets = Secrets::foreign("{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M=").unwrap();
        people.set_own(whom, Some((&secrets, first))).await.unwrap();
        assert!(people.some_need_plain().await.unwrap(), "a hash has no verifier");
        let entry = people.entry(&ada).await.unwrap();
        assert_eq!((entry.in_place_of(&first), entry.in_place_of(&second)), (Some(&secrets), None));
        assert_eq!(Entry::read(&entry.write()).unwrap(), entry);
        // What is right once is kept as it would be kept today.
        people.renew((&ada, true), &entry, "a password for a single program").await.unwrap();
        assert_eq!(people.entry(&ada).await.unwrap(), entry);
        people.renew((&ada, true), &entry, "test").await.unwrap();
        assert!(!people.some_need_plain().await.unwrap());
        assert!(people.entry(&ada).await.unwrap().own.unwrap().verifier().is_some());
        people.set_own(whom, None).await.unwrap();
        assert_eq!(people.entry(&ada).await.unwrap(), Entry::default());
    }
}

#[tokio::test]
async fn scripts_are_written_read_renamed_and_removed() {
    for Ground { people, other, time, .. } in grounds().await {
        let ada = at("ada@example.org");
        people.create(&ada, kept(&[]), false).await.unwrap();
        let long = "# ünd so weiter\n".repeat(50_000);
        let (first, is_new) = people.put_script(whom(&ada), "main", &long).await.unwrap();
        assert!(is_new && !first.active);
        assert_eq!(other.script(&ada, "main").await.unwrap(), Some((first.clone(), long.clone())));
        assert_eq!(people.script(&ada, "other").await.unwrap(), None);
        time.fetch_add(5, Ordering::SeqCst);
        people.put_script(whom(&ada), "away", "").await.unwrap();
        assert_eq!(people.script(&ada, "away").await.unwrap().unwrap().1, "");
        // The one that is active stays so when it is written anew.
        people.change_script(whom(&ada), "main", (None, Some(true))).await.unwrap();
        let (again, is_new) = people.put_script(whom(&ada), "main", "keep;").await.unwrap();
        assert!(!is_new && again.active && again.id == first.id && again.text != first.text);
        let stale = Whom { stamp: Some(first.text), ..whom(&ada) };
        assert!(matches!(people.put_script(stale, "main", "stop;").await, Err(PeopleError::Changed)));
        assert!(matches!(people.put_script(stale, "new", "stop;").await, Err(PeopleError::Changed)));
        assert!(matches!(people.remove_script(whom(&ada), "main").await, Err(PeopleError::Active)));
        let clash = people.change_script(whom(&ada), "main", (Some("away"), None)).await;
        assert!(matches!(clash, Err(PeopleError::NameTaken)));
        people.change_script(whom(&ada), "away", (Some("zzz"), Some(true))).await.unwrap();
        let listed = people.scripts(&ada).await.unwrap();
        assert_eq!(
            listed.iter().map(|one| (one.name.as_str(), one.active)).collect::<Vec<_>>(),
            [("main", false), ("zzz", true)]
        );
        people.remove_script(whom(&ada), "main").await.unwrap();
        assert!(matches!(people.remove_script(whom(&ada), "main").await, Err(PeopleError::Missing)));
    }
}

#[tokio::test]
async fn scripts_and_identities_have_limits_and_go_with_the_person() {
    for Ground { people, data, .. } in grounds().await {
        let ada = at("ada@example.org");
        assert!(matches!(people.put_script(whom(&ada), "x", "keep;").await, Err(PeopleError::Nobody)));
        people.create(&ada, kept(&[]), false).await.unwrap();
        let long = "#".repeat(mail::sieve::SCRIPT_MOST);
        for n in 0..4 {
            people.put_script(whom(&ada), &format!("{n}"), &long).await.unwrap();
        }
        people.put_script(whom(&ada), "3", &long).await.unwrap();
        assert!(matches!(people.put_script(whom(&ada), "4", "#").await, Err(PeopleError::TooMany { .. })));
        for n in 0..4 {
            people.put_script(whom(&ada), &format!("{n}"), "").await.unwrap();
        }
        let name = |n: usize| format!("{n:0>width$}", width = owned::SCRIPT_NAME_MOST);
        for n in 4..owned::SCRIPTS_MOST {
            people.put_script(whom(&ada), &name(n), "").await.unwrap();
        }
        assert!(matches!(people.put_script(whom(&ada), "more", "").await, Err(PeopleError::TooMany { .. })));
        let named = owned::Named { name: "n".repeat(NAME_MOST), email: at(&format!("{}@example.org", "a".repeat(64))) };
        let identity = owned::Identity {
            email: ada.clone(),
            name: "n".repeat(NAME_MOST),
            reply_to: vec![named.clone(); owned::COPIES_MOST],
            bcc: vec![named; owned::COPIES_MOST],
            text_signature: "t".repeat(owned::SIGNATURES_MOST),
            html_signature: String::new(),
        };
        let mut ids = Vec::new();
        for _ in 0..owned::IDENTITIES_MOST {
            ids.push(people.put_identity(whom(&ada), None, &identity).await.unwrap().0);
        }
        assert!(matches!(people.put_identity(whom(&ada), None, &identity).await, Err(PeopleError::TooMany { .. })));
        let all = people.identities(&ada).await.unwrap();
        assert!(all.iter().map(|one| one.0).eq(ids.iter().copied()) && all.iter().all(|one| one.2 == identity));
        let other = owned::Identity { text_signature: "other".into(), ..identity.clone() };
        people.put_identity(whom(&ada), Some(ids[1]), &other).await.unwrap();
        people.remove_identity(whom(&ada), ids[0]).await.unwrap();
        let (id, number, first) = people.identities(&ada).await.unwrap().swap_remove(0);
        assert_eq!((id, first), (ids[1], other.clone()));
        // Whoever saw an older one changes nothing.
        people.put_identity(Whom { stamp: Some(number), ..whom(&ada) }, Some(id), &other).await.unwrap();
        let stale = people.remove_identity(Whom { stamp: Some(number), ..whom(&ada) }, id).await;
        assert!(matches!(stale, Err(PeopleError::Changed)));
        people.remove(whom(&ada)).await.unwrap();
        assert_eq!(data.scan(KeyRange::prefix(b"P"), Page::first(9)).await.unwrap(), []);
    }
}

#[tokio::test]
async fn of_scripts_that_two_servers_change_at_once_one_is_active_and_none_is_torn() {
    for Ground { people, other, .. } in grounds().await {
        let ada = at("ada@example.org");
        people.create(&ada, kept(&[]), false).await.unwrap();
        for name in ["a", "b"] {
            people.put_script(whom(&ada), name, "").await.unwrap();
        }
        let long = ["a", "b"].map(|letter| letter.repeat(200_000));
        for round in 0..20 {
            let (one, two, three, read) = tokio::join!(
                people.change_script(whom(&ada), "a", (None, Some(true))),
                other.change_script(whom(&ada), "b", (None, Some(true))),
                other.put_script(whom(&ada), "c", &long[round % 2]),
                people.script(&ada, "c"),
            );
            assert!(one.is_ok() && two.is_ok() && three.is_ok(), "{one:?} {two:?} {three:?}");
            let read = read.unwrap().map(|(_, text)| text);
            assert!(read.is_none_or(|read| long.contains(&read)));
            assert_eq!(people.scripts(&ada).await.unwrap().iter().filter(|one| one.active).count(), 1);
        }
    }
}

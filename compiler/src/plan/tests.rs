#![allow(clippy::unwrap_used)]
use super::*;
use crate::zone::master;

fn key(name: &str, kind: &str) -> SetKey {
    SetKey { name: name.parse().unwrap(), kind: Kind::named(kind).unwrap() }
}

/// `NAME TTL TYPE VALUE` lines; names end in example.org.
fn sets(lines: &[&str]) -> Sets {
    let mut sets: BTreeMap<SetKey, (u64, Vec<Rdata>)> = BTreeMap::new();
    for line in lines {
        let parts: Vec<&str> = line.splitn(4, ' ').collect();
        let name = if parts[0] == "@" { "example.org".to_owned() } else { format!("{}.example.org", parts[0]) };
        let key = key(&name, parts[2]);
        let value = master::value(key.kind, parts[3]).unwrap();
        let set = sets.entry(key).or_default();
        set.0 = parts[1].parse().unwrap();
        set.1.push(value);
    }
    sets.into_iter().map(|(key, (ttl, values))| (key, Set::of(ttl, values).unwrap())).collect()
}

fn planned(last: &[&str], live: &[&str], wanted: &[&str], adopt: bool) -> Plan {
    let live = Live { sets: sets(live), ..Live::default() };
    plan(&Sides { last: &sets(last), begun: &Sets::new(), live: &live, wanted: &sets(wanted) }, adopt)
}

fn applied(live: &Live, plan: &Plan) -> Live {
    let mut live = live.clone();
    for change in &plan.changes {
        assert_eq!(live.sets.get(&change.key), change.before.as_ref());
        match &change.after {
            Some(after) => drop(live.sets.insert(change.key.clone(), after.clone())),
            None => drop(live.sets.remove(&change.key)),
        }
    }
    live
}

#[test]
fn a_shared_set_keeps_what_is_not_ours() {
    let site = "@ 300 TXT \"site-verification=1\"";
    let plan = planned(&[], &[site], &["@ 3600 TXT \"v=spf1 mx -all\""], false);
    assert!(plan.refused.is_empty());
    assert_eq!(plan.kept.len(), 1);
    let after = plan.changes[0].after.as_ref().unwrap();
    assert_eq!((after.values.len(), after.ttl), (2, 300));
    // What we wrote and want no more goes alone.
    let plan = planned(&["@ 3600 TXT \"v=spf1 mx -all\""], &[site, "@ 300 TXT \"v=spf1 mx -all\""], &[], false);
    assert_eq!(plan.changes[0].after.as_ref().unwrap().values, sets(&[site])[&key("example.org", "TXT")].values);
}

#[test]
fn a_second_owner_is_refused_until_adopted() {
    for (live, wanted) in [
        ("@ 300 TXT \"v=spf1 include:old.example -all\"", "@ 300 TXT \"v=spf1 mx -all\""),
        ("@ 300 MX 5 old.example.", "@ 300 MX 10 mail.example.org."),
        ("_dmarc 300 TXT \"v=DMARC1; p=none\"", "_dmarc 300 TXT \"v=DMARC1; p=reject\""),
        ("autoconfig 300 CNAME old.example.", "autoconfig 300 CNAME mail.example.org."),
    ] {
        let plan = planned(&[], &[live], &[wanted], false);
        assert!(plan.changes.is_empty() && matches!(plan.refused[0].why, Why::Foreign(_)), "{live}");
        let plan = planned(&[], &[live], &[wanted], true);
        assert_eq!(plan.changes[0].after, sets(&[wanted]).into_values().next());
        // What was ours and is another now is put right; what stands beside ours is not taken away.
        let plan = planned(&[wanted], &[live], &[wanted], false);
        assert_eq!((plan.changes.len(), plan.refused.len()), (1, 0), "{live}");
        if !wanted.contains("CNAME") {
            let plan = planned(&[wanted], &[live, wanted], &[wanted], false);
            assert!(matches!(plan.refused[0].why, Why::Foreign(_)), "{live}");
        }
    }
}

#[test]
fn what_is_wanted_no_more_goes_as_far_as_we_wrote_it() {
    let mx = "@ 300 MX 10 mail.example.org.";
    assert_eq!(planned(&[mx], &[mx], &[], false).changes[0].after, None);
    // Somebody's value stays, and is shown.
    let plan = planned(&[mx], &["@ 300 MX 5 other.example."], &[], false);
    assert_eq!((plan.changes.len(), plan.kept.len()), (0, 1));
    // What was never ours is not looked at.
    assert_eq!(planned(&[], &[mx], &[], false), Plan::default());
}

#[test]
fn times_to_live_count_where_the_set_is_ours() {
    let plan = planned(&[], &["@ 60 MX 10 mail.example.org."], &["@ 3600 MX 10 mail.example.org."], false);
    assert_eq!(plan.changes[0].after.as_ref().unwrap().ttl, 3600);
    let live = ["@ 60 TXT \"x\"", "@ 60 TXT \"v=spf1 -all\""];
    assert_eq!(planned(&[], &live, &["@ 3600 TXT \"v=spf1 -all\""], false).changes, []);
}

#[test]
fn a_cname_has_its_name_alone() {
    let (alias, text) = ("mta-sts 300 CNAME mail.example.org.", "mta-sts 300 TXT \"hello\"");
    let plan = planned(&[], &[text], &[alias], false);
    assert!(plan.changes.is_empty());
    assert_eq!(plan.refused[0].why, Why::Beside(vec![key("mta-sts.example.org", "TXT")]));
    let plan = planned(&[], &[text], &[alias], true);
    assert_eq!(plan.changes.len(), 2);
    // Ours makes room by itself.
    assert_eq!(planned(&[text], &[text], &[alias], false).changes.len(), 2);
    assert_eq!(planned(&[alias], &[alias], &[text], false).changes.len(), 2);
    assert!(matches!(planned(&[], &[alias], &[text], false).refused[0].why, Why::Beside(_)));
    let mut live = Live::default();
    live.others.insert("mta-sts.example.org".parse().unwrap());
    let plan = plan_of(&live, &[alias]);
    assert_eq!(plan.refused[0].why, Why::BesideOthers);
}

fn plan_of(live: &Live, wanted: &[&str]) -> Plan {
    plan(&Sides { last: &Sets::new(), begun: &Sets::new(), live, wanted: &sets(wanted) }, true)
}

/// A small generator, so that a failure is seen again.
struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % most
    }

    fn sets(&mut self) -> Sets {
        const LINES: [&str; 16] = [
            "@ 60 TXT \"v=spf1 mx -all\"",
            "@ 60 TXT \"v=spf1 a -all\"",
            "@ 60 TXT \"site=1\"",
            "@ 60 TXT \"site=2\"",
            "@ 60 MX 10 a.example.",
            "@ 60 MX 20 b.example.",
            "@ 60 CAA 0 issue \"a.example\"",
            "@ 60 CAA 0 issue \"b.example\"",
            "x 60 CNAME a.example.",
            "x 60 CNAME b.example.",
            "x 60 A 192.0.2.1",
            "x 60 TXT \"hello\"",
            "_dmarc 60 TXT \"v=DMARC1; p=none\"",
            "_dmarc 300 TXT \"v=DMARC1; p=reject\"",
            "k._domainkey 60 TXT \"v=DKIM1; p=AAAA\"",
            "k._domainkey 60 TXT \"v=DKIM1; p=BBBB\"",
        ];
        let chosen: Vec<&str> = LINES.into_iter().filter(|_| self.below(3) == 0).collect();
        let mut sets = sets(&chosen);
        // As every zone is: a CNAME stands alone.
        if sets.contains_key(&key("x.example.org", "CNAME")) {
            sets.retain(|set, _| set.name != key("x.example.org", "A").name || set.kind == Kind::Cname);
            let alias = sets.get_mut(&key("x.example.org", "CNAME")).unwrap();
            alias.values.truncate(1);
        }
        sets
    }
}

#[test]
fn for_any_three_sides_the_second_plan_is_empty_and_nothing_of_others_is_lost() {
    let mut random = Random(7);
    for round in 0..20_000 {
        let (last, wanted) = (random.sets(), random.sets());
        let live = Live { sets: random.sets(), ..Live::default() };
        for adopt in [false, true] {
            let first = plan(&Sides { last: &last, begun: &Sets::new(), live: &live, wanted: &wanted }, adopt);
            if adopt {
                assert_eq!(first.refused, [], "{round}");
            }
            let after = applied(&live, &first);
            let refused = |key: &SetKey| first.refused.iter().any(|one| one.key == *key);
            for (key, set) in &wanted {
                if !refused(key) {
                    let there = &after.sets[key].values;
                    assert!(set.values.iter().all(|value| there.contains(value)), "{round}: {key}");
                }
            }
            for (key, set) in &live.sets {
                for value in &set.values {
                    let ours = |side: &Sets| side.get(key).is_some_and(|set| set.values.contains(value));
                    let stays = after.sets.get(key).is_some_and(|set| set.values.contains(value));
                    // Others' values go only where one owner's set was ours and was changed, or it is adopted.
                    let touched = last.contains_key(key) && wanted.contains_key(key);
                    let others = !ours(&last) && !ours(&wanted);
                    assert!(!others || stays || adopt || touched, "{round}: {key} {value}");
                    assert!(!ours(&wanted) || stays, "{round}: {key} {value}");
                }
            }
            // Cut off after any change, and begun again: the same end.
            for cut in 0..=first.changes.len() {
                let partly = Plan { changes: first.changes[..cut].to_vec(), ..Plan::default() };
                let middle = applied(&live, &partly);
                let again = plan(&Sides { last: &last, begun: &wanted, live: &middle, wanted: &wanted }, adopt);
                assert_eq!(applied(&middle, &again), after, "{round}: cut at {cut}");
            }
            let second = plan(&Sides { last: &wanted, begun: &Sets::new(), live: &after, wanted: &wanted }, adopt);
            assert!(second.changes.iter().all(|change| refused(&change.key)), "{round}: {second:?}");
        }
    }
}

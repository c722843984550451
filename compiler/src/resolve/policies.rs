//! Rules, thresholds and expectations: that each can hold where it stands.

use super::twice_in;
use crate::code::Code;
use crate::diagnostic::{Path, Report};
use crate::read::form;
use schema::form::Network;
use schema::spec::{self, Action, HeaderTest, Spec, Stage, TextOperator, TextTest, When};

/// Holds every rule against the point of mail's way where it stands.
pub fn policies(spec: &Spec, report: &mut Report) {
    for (p, policy) in spec.policy.iter().enumerate() {
        let at = Path::root().field("policy").item(p);
        twice_in("rule", &at, policy.rule.iter().map(|rule| &rule.name), report);
        let stage = policy.at.unwrap_or(Stage::Data);
        let mut last: Option<usize> = None;
        for (r, rule) in policy.rule.iter().enumerate() {
            let here = at.field("rule").item(r);
            if let Some(first) = last.take() {
                let says = format!("the rule `{}` is never looked at", rule.name);
                report
                    .find(Code::RuleUnreached, here.clone(), says)
                    .also(at.field("rule").item(first), "this rule holds for all mail, and ends the policy")
                    .help("write it before that rule, or give that rule a `when`");
            }
            for (w, when) in rule.when.iter().enumerate() {
                let here = here.field("when").item(w);
                patterns(when, &here, report);
                early(when, stage, &here, report);
            }
            actions(rule, stage, &here, report);
            let always = rule.when.is_empty() || rule.when.contains(&When::default());
            last = (always && rule.then.action.iter().any(is_last)).then_some(r);
        }
    }
    spam(spec, report);
    inbound(spec, report);
    rewrites(spec, report);
    expectations(spec, report);
    mailboxes(spec, report);
}

/// Whether an action is the policy's last word.
fn is_last(action: &Action) -> bool {
    matches!(
        action,
        Action::Accept(_)
            | Action::Refuse(_)
            | Action::Defer(_)
            | Action::Discard(_)
            | Action::Quarantine(_)
            | Action::Done(_)
    )
}

fn texts(when: &When) -> [(&'static str, &[TextTest]); 11] {
    [
        ("client-name", &when.client_name),
        ("helo", &when.helo),
        ("account", &when.account),
        ("sender", &when.sender),
        ("sender-domain", &when.sender_domain),
        ("recipient", &when.recipient),
        ("recipient-domain", &when.recipient_domain),
        ("body", &when.body),
        ("link", &when.link),
        ("attachment-name", &when.attachment_name),
        ("attachment-type", &when.attachment_type),
    ]
}

/// Regular expressions among the values of tests.
fn patterns(when: &When, at: &Path, report: &mut Report) {
    let is_pattern = |test: TextOperator| matches!(test, TextOperator::Matches | TextOperator::MatchesNot);
    let mut found: Vec<(&str, Path)> = Vec::new();
    for (name, tests) in texts(when) {
        for (n, TextTest { value, .. }) in tests.iter().enumerate().filter(|(_, one)| is_pattern(one.test)) {
            let at = at.field(name).item(n).field("value");
            found.extend(value.iter().enumerate().map(|(v, value)| (value.as_str(), at.item(v))));
        }
    }
    for (n, HeaderTest { value, .. }) in when.header.iter().enumerate().filter(|(_, one)| is_pattern(one.test)) {
        let at = at.field("header").item(n).field("value");
        found.extend(value.iter().enumerate().map(|(v, value)| (value.as_str(), at.item(v))));
    }
    for (text, at) in found {
        if let Err(misfit) = form::check("regex", text) {
            report.find(Code::WrongForm, at, format!("this {}", misfit.says)).help = misfit.help;
        }
    }
}

/// Conditions of what is not known yet at a point of mail's way.
fn early(when: &When, stage: Stage, at: &Path, report: &mut Report) {
    let mut known_from: Vec<(&str, Stage, bool)> = vec![
        ("client", Stage::Connect, !when.client.is_empty()),
        ("dnsbl", Stage::Connect, !when.dnsbl.is_empty()),
        ("encrypted", Stage::Helo, when.encrypted.is_some()),
        ("authenticated", Stage::Mail, when.authenticated.is_some()),
        ("spf", Stage::Mail, !when.spf.is_empty()),
        ("recipients", Stage::Data, !when.recipients.is_empty()),
        ("header", Stage::Data, !when.header.is_empty()),
        ("size", Stage::Data, !when.size.is_empty()),
        ("score", Stage::Data, !when.score.is_empty()),
        ("attachments", Stage::Data, when.attachments.is_some()),
        ("dkim", Stage::Data, !when.dkim.is_empty()),
        ("dmarc", Stage::Data, !when.dmarc.is_empty()),
        ("arc", Stage::Data, !when.arc.is_empty()),
    ];
    known_from.extend(texts(when).into_iter().map(|(name, tests)| {
        let from = match name {
            "client-name" => Stage::Connect,
            "helo" => Stage::Helo,
            "account" | "sender" | "sender-domain" => Stage::Mail,
            "recipient" | "recipient-domain" => Stage::Rcpt,
            _ => Stage::Data,
        };
        (name, from, !tests.is_empty())
    }));
    for (name, from, used) in known_from {
        if used && stage < from {
            let says = format!("`{name}` is not known at `{}`", stage_name(stage));
            let help = format!("write `at=\"{}\"` on the policy, or a later point", stage_name(from));
            report.find(Code::StageWrong, at.field(name), says).help(help);
        }
    }
}

/// Actions that a point of mail's way has no use for.
fn actions(rule: &spec::Rule, stage: Stage, at: &Path, report: &mut Report) {
    for (n, action) in rule.then.action.iter().enumerate() {
        let at = at.field("then").field("action").item(n);
        let (name, from) = match action {
            Action::Refuse(_) | Action::Defer(_) if stage >= Stage::Deliver => {
                let says = format!(
                    "at `{}` the mail has been taken, and refusing it would bounce it to whoever \
                     is written as its sender",
                    stage_name(stage)
                );
                report
                    .find(Code::StageWrong, at, says)
                    .help("write `at=\"data\"` on the policy, or `quarantine` in place of this");
                continue;
            }
            Action::Discard(_) => ("discard", Stage::Data),
            Action::Quarantine(_) => ("quarantine", Stage::Data),
            Action::Junk(_) => ("junk", Stage::Data),
            Action::Mailbox(_) => ("mailbox", Stage::Data),
            Action::Keyword(_) => ("keyword", Stage::Data),
            Action::AddHeader(_) => ("add-header", Stage::Data),
            Action::RemoveHeader(_) => ("remove-header", Stage::Data),
            Action::Footer(_) => ("footer", Stage::Data),
            Action::Redirect(_) => ("redirect", Stage::Rcpt),
            Action::Copy(_) => ("copy", Stage::Rcpt),
            Action::Route(_) => ("route", Stage::Rcpt),
            Action::Pool(_) => ("pool", Stage::Rcpt),
            _ => continue,
        };
        if stage < from {
            let says = format!("`{name}` has nothing to act on at `{}`", stage_name(stage));
            let help = format!("write `at=\"{}\"` on the policy, or a later point", stage_name(from));
            report.find(Code::StageWrong, at, says).help(help);
        }
    }
}

fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Connect => "connect",
        Stage::Helo => "helo",
        Stage::Mail => "mail",
        Stage::Rcpt => "rcpt",
        Stage::Data => "data",
        Stage::Submit => "submit",
        Stage::Deliver => "deliver",
        Stage::Relay => "relay",
    }
}

/// Thresholds that rise, and rules whose conditions can be looked for.
fn spam(spec: &Spec, report: &mut Report) {
    let Some(spam) = &spec.spam else { return };
    let at = Path::root().field("spam");
    twice_in("rule", &at, spam.rule.iter().map(|rule| &rule.name), report);
    twice_in("test", &at, spam.test.iter().map(|test| &test.name), report);
    for (r, rule) in spam.rule.iter().enumerate() {
        for (w, when) in rule.when.iter().enumerate() {
            patterns(when, &at.field("rule").item(r).field("when").item(w), report);
        }
    }
    let thresholds = [
        ("junk", Some(spam.junk.unwrap_or(50))),
        ("refuse-from", Some(spam.refuse_from.unwrap_or(150))),
        ("discard-from", spam.discard_from),
    ];
    let mut before: Option<(&str, i32)> = None;
    for (name, points) in thresholds {
        let Some(points) = points else { continue };
        if let Some((lower, least)) = before.filter(|(_, least)| points <= *least) {
            let says = format!("`{name}` is {points}, and `{lower}` is {least}, so `{lower}` never comes to be");
            let written = if name == "refuse-from" && spam.refuse_from.is_none() { lower } else { name };
            report.find(Code::ThresholdOrder, at.field(written), says).help(format!("write more than {least}"));
        }
        before = Some((name, points));
    }
}

/// What would make the server one that sends for everybody, or that other servers do not reach.
fn inbound(spec: &Spec, report: &mut Report) {
    let Some(inbound) = &spec.inbound else { return };
    let at = Path::root().field("inbound");
    let wide = |network: &Network| network.prefix < if network.address.is_ipv4() { 8 } else { 16 };
    for (n, network) in inbound.relay_from.iter().enumerate().filter(|(_, network)| wide(network)) {
        let says = format!("`{network}` is a good part of the internet, and all of it could send through this server");
        report
            .find(Code::OpenRelay, at.field("relay-from").item(n), says)
            .help("name the networks of your own machines, as in `relay-from \"192.0.2.0/24\"`");
    }
    if inbound.tls == Some(spec::InboundTls::Required) {
        let says = "servers that cannot encrypt could not send mail here";
        report
            .find(Code::TlsForced, at.field("tls"), says)
            .help("leave it out, and publish MTA-STS and TLSA records for those who can");
    }
}

/// Addresses written otherwise: that what stands in their place can be made of the pattern.
fn rewrites(spec: &Spec, report: &mut Report) {
    let inbound = spec.inbound.iter().flat_map(|one| one.rewrite.iter().enumerate());
    let inbound = inbound.map(|(n, one)| (one, Path::root().field("inbound").field("rewrite").item(n)));
    let submission = spec.submission.iter().flat_map(|one| one.rewrite.iter().enumerate());
    let submission = submission.map(|(n, one)| (one, Path::root().field("submission").field("rewrite").item(n)));
    for (rewrite, at) in inbound.chain(submission) {
        // Patterns that cannot be read have been told.
        let Ok(pattern) = regex::Regex::new(rewrite.from.as_str()) else { continue };
        let groups = pattern.captures_len() - 1;
        let asked = rewrite.to.match_indices('$').filter_map(|(n, _)| {
            let digits: String = rewrite.to[n + 1..].chars().take_while(char::is_ascii_digit).collect();
            digits.parse::<usize>().ok()
        });
        if let Some(group) = asked.max().filter(|group| *group > groups) {
            let says = format!("`${group}` is written, and the pattern has {groups} groups");
            report.find(Code::WrongForm, at.field("to"), says).help("put `( )` around what is to be kept");
        }
    }
}

/// Expectations with exactly one outcome.
fn expectations(spec: &Spec, report: &mut Report) {
    for (n, expect) in spec.expect.iter().enumerate() {
        let outcomes = [
            !expect.delivered.is_empty(),
            !expect.relayed.is_empty(),
            expect.refused.is_some(),
            expect.deferred.is_some(),
            expect.quarantined,
            expect.discarded,
        ];
        // A message to several can be put into some mailboxes and sent on to others.
        let both = outcomes[0] && outcomes[1];
        let count = outcomes.iter().filter(|outcome| **outcome).count() - usize::from(both);
        // Where reading found errors, the outcome may have been there and wrong, which has been told.
        if count > 1 || (count == 0 && !report.has_errors()) {
            let says = format!("`{}` says {}", expect.name, if count == 0 { "no outcome" } else { "several outcomes" });
            report
                .find(Code::NoOutcome, Path::root().field("expect").item(n), says)
                .help("write one of `delivered`, `relayed`, `refused`, `deferred`, `quarantined` and `discarded`");
        }
    }
}

/// Mailboxes named twice, and two for one use.
fn mailboxes(spec: &Spec, report: &mut Report) {
    let domains = spec.domain.iter().enumerate();
    let own = domains.map(|(d, domain)| (&domain.mailbox, Path::root().field("domain").item(d)));
    let common = spec.defaults.as_ref().and_then(|defaults| defaults.domain.as_ref());
    let common = common.map(|domain| (&domain.mailbox, Path::root().field("defaults").field("domain")));
    for (mailboxes, at) in own.chain(common) {
        twice_in("mailbox", &at, mailboxes.iter().map(|mailbox| &mailbox.name), report);
        let mut seen = std::collections::HashMap::new();
        for (n, mailbox) in mailboxes.iter().enumerate() {
            let Some(special) = mailbox.special_use else { continue };
            let here = at.field("mailbox").item(n).field("use");
            if let Some(first) = seen.insert(special, here.clone()) {
                let says = format!("`{}` is for the same as another mailbox, and programs take either", mailbox.name);
                report.find(Code::UseTwice, here, says).also(first, "the other one").help("keep one of the two `use`");
            }
        }
    }
}

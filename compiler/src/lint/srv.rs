//! SRV of client services (RFC 6186, RFC 8314, RFC 8620, RFC 5804): each port is a listener.

use super::Around;
use super::world::own;
use crate::code::Code;
use crate::diagnostic::{Path, Report};
use crate::zone::{Kind, Rdata, RecordSet};
use schema::config::Service;

/// The services, and what serves them; `None`: nothing in this version.
const SERVICES: [(&str, Option<Service>); 8] = [
    ("_imap", Some(Service::Imap)),
    ("_imaps", Some(Service::Imaps)),
    ("_pop3", None),
    ("_pop3s", None),
    ("_submission", Some(Service::Submission)),
    ("_submissions", Some(Service::Submissions)),
    ("_sieve", None),
    ("_jmap", Some(Service::Https)),
];

/// Looks at the operator's own SRV records that lead to hosts of the spec; derived ones are made from the listeners.
pub fn lint(around: &Around<'_>, report: &mut Report) {
    let sets = around.artefacts.zones.iter().flat_map(|zone| &zone.sets);
    for set in sets.filter(|set| matches!(set.kind, Kind::Srv | Kind::Cname)) {
        let Some(at) = own(set) else { continue };
        if set.kind == Kind::Cname {
            web(set, at, around, report);
            continue;
        }
        let mut labels = set.name.labels();
        let (service, protocol) = (labels.next().unwrap_or_default(), labels.next());
        let Some((_, served)) = SERVICES.iter().find(|(name, _)| *name == service) else { continue };
        if protocol != Some("_tcp") {
            let says = format!("`{}` is looked for under `_tcp` and nowhere else", set.name);
            report.find(Code::SrvListener, at.clone(), says).help(format!("write `{service}._tcp`"));
            continue;
        }
        for value in &set.values {
            let Rdata::Srv(_, _, port, Some(target)) = value else { continue };
            let Some(host) = around.resolved.host(target) else { continue };
            let ports = served.map(|served| host.ports(served)).unwrap_or_default();
            if ports.contains(port) {
                continue;
            }
            let says = format!("`{}` leads to port {port} of `{target}`, where it does not serve that", set.name);
            let help = match (served, ports.as_slice()) {
                (None, _) => "this version does not serve it: write `0 0 0 .`, or leave the record out".to_owned(),
                (Some(served), []) => {
                    format!(
                        "write `{} {port}` in the host's `listen`, unless something forwards the port",
                        served.name()
                    )
                }
                (Some(_), [usual, ..]) => {
                    format!("it listens on {usual}; leave the record out: it is made from `listen`")
                }
            };
            report.find(Code::SrvListener, at.clone(), says).also(host.at.field("listen"), "its listeners").help(help);
        }
    }
}

/// Names that are asked by HTTPS lead to a host that serves it.
fn web(set: &RecordSet, at: &Path, around: &Around<'_>, report: &mut Report) {
    let mut labels = set.name.labels();
    let asked = labels.next().is_some_and(|first| ["autoconfig", "autodiscover", "mta-sts"].contains(&first));
    let host = set.values.first().and_then(Rdata::target).and_then(|target| around.resolved.host(target));
    if let Some(host) = host.filter(|host| asked && !host.ports(Service::Https).contains(&443)) {
        let says = format!("`{}` leads to `{}`, which does not serve https on port 443", set.name, host.name);
        let help = "write `https 443` in the host's `listen`, unless something forwards the port";
        report.find(Code::SrvListener, at.clone(), says).also(host.at.field("listen"), "its listeners").help(help);
    }
}

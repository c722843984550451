//! Zones as the files of other tools, for teams that publish by one of them: [`Form`].

use crate::zone::{Kind, Rdata, RecordSet, Zone};
use schema::name::DomainName;
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Whose files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Master files (RFC 1035 §5), without SOA and NS.
    Bind,
    /// OctoDNS, a YAML file for each zone.
    OctoDns,
    /// DNSControl: what extends the domains that a `dnsconfig.js` declares.
    DnsControl,
    /// Terraform or OpenTofu, as JSON.
    Terraform,
    /// ExternalDNS: a `DNSEndpoint` for each zone.
    ExternalDns,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its name.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// Files, and what could not be put into them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// By name.
    pub files: Vec<File>,
    /// Sets that the form has no word for.
    pub lacking: Vec<String>,
}

/// The files of zones. `kind` says of a zone what publishes it, as the `dns` node has it: `cloudflare`.
pub fn files(form: Form, zones: &[&Zone], kind: &dyn Fn(&DomainName) -> Option<&'static str>) -> Files {
    let each = |end: &str, text: fn(&Zone) -> String| Files {
        files: zones.iter().map(|zone| File { name: format!("{}{end}", zone.name), text: text(zone) }).collect(),
        lacking: Vec::new(),
    };
    match form {
        Form::Bind => each(".zone", Zone::master_file),
        Form::OctoDns => each(".yaml", octodns),
        Form::ExternalDns => each(".endpoint.yaml", endpoint),
        Form::DnsControl => {
            let text: String = zones.iter().map(|zone| dnscontrol(zone)).collect();
            Files { files: vec![File { name: "waybill.dnsconfig.js".into(), text }], lacking: Vec::new() }
        }
        Form::Terraform => terraform(zones, kind),
    }
}

/// A text in double quotes, as JSON, YAML and JavaScript all read it.
fn quoted(text: &str) -> String {
    Json::from(text).to_string()
}

fn host(name: Option<&DomainName>) -> String {
    name.map_or_else(|| ".".to_owned(), |name| format!("{name}."))
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Texts, each with the number behind it.
type Natural = Vec<(String, u64)>;

/// Digits as numbers, all else as it is: `s9` before `s10`.
fn natural(name: &str) -> Natural {
    let mut parts: Natural = vec![(String::new(), 0)];
    let mut in_number = false;
    for c in name.chars() {
        let digit = c.to_digit(10);
        if digit.is_none() && in_number {
            parts.push((String::new(), 0));
        }
        in_number = digit.is_some();
        if let Some((text, number)) = parts.last_mut() {
            match digit {
                Some(digit) => *number = number.saturating_mul(10).saturating_add(digit.into()),
                None => text.push(c),
            }
        }
    }
    parts
}

fn octodns(zone: &Zone) -> String {
    let mut names: BTreeMap<(Natural, String), Vec<&RecordSet>> = BTreeMap::new();
    for set in &zone.sets {
        let name = zone.relative(&set.name).replace('@', "");
        names.entry((natural(&name), name)).or_default().push(set);
    }
    let mut out = String::from("---\n");
    for ((_, name), sets) in names {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{}:", quoted(&name));
        for set in sets {
            let _ = writeln!(out, "  - ttl: {}\n    type: {}", set.ttl.0, set.kind.name());
            if let [Rdata::Cname(to)] = set.values.as_slice() {
                let _ = writeln!(out, "    value: {}", quoted(&host(Some(to))));
                continue;
            }
            out.push_str("    values:\n");
            for value in &set.values {
                let _ = writeln!(out, "      - {}", octodns_value(value));
            }
        }
    }
    out
}

fn octodns_value(value: &Rdata) -> String {
    match value {
        Rdata::A(_) | Rdata::Aaaa(_) | Rdata::Cname(_) => quoted(&value.to_string()),
        Rdata::Txt(text) => quoted(&text.replace(';', "\\;")),
        Rdata::Mx(preference, to) => {
            format!("{{exchange: {}, preference: {preference}}}", quoted(&host(to.as_ref())))
        }
        Rdata::Srv(priority, weight, port, to) => {
            let target = quoted(&host(to.as_ref()));
            format!("{{port: {port}, priority: {priority}, target: {target}, weight: {weight}}}")
        }
        Rdata::Caa(flags, tag, value) => format!("{{flags: {flags}, tag: {tag}, value: {}}}", quoted(value)),
        Rdata::Tlsa(usage, selector, matching, data) => format!(
            "{{certificate_association_data: {}, certificate_usage: {usage}, matching_type: {matching}, selector: {selector}}}",
            quoted(&hex(data))
        ),
    }
}

fn endpoint(zone: &Zone) -> String {
    let name = zone.name.as_str().replace('.', "-");
    let mut out = format!(
        "apiVersion: externaldns.k8s.io/v1alpha1\nkind: DNSEndpoint\nmetadata:\n  name: {name}\nspec:\n  endpoints:\n"
    );
    for set in &zone.sets {
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "    - dnsName: {}\n      recordTTL: {}\n      recordType: {}\n      targets:",
            quoted(set.name.as_str()),
            set.ttl.0,
            set.kind.name()
        );
        for value in &set.values {
            let text = match value {
                Rdata::Txt(text) => text.clone(),
                other => other.to_string(),
            };
            let _ = writeln!(out, "        - {}", quoted(&text));
        }
    }
    out
}

fn dnscontrol(zone: &Zone) -> String {
    let mut out = format!("D_EXTEND({}", quoted(zone.name.as_str()));
    for set in &zone.sets {
        let name = quoted(&zone.relative(&set.name));
        for value in &set.values {
            let call = match value {
                Rdata::A(address) => format!("A({name}, {}", quoted(&address.to_string())),
                Rdata::Aaaa(address) => format!("AAAA({name}, {}", quoted(&address.to_string())),
                Rdata::Cname(to) => format!("CNAME({name}, {}", quoted(&host(Some(to)))),
                Rdata::Mx(preference, to) => format!("MX({name}, {preference}, {}", quoted(&host(to.as_ref()))),
                Rdata::Txt(text) => format!("TXT({name}, {}", quoted(text)),
                Rdata::Srv(priority, weight, port, to) => {
                    format!("SRV({name}, {priority}, {weight}, {port}, {}", quoted(&host(to.as_ref())))
                }
                Rdata::Caa(flags, tag, value) => {
                    let critical = if flags & 0x80 != 0 { ", CAA_CRITICAL" } else { "" };
                    format!("CAA({name}, {}, {}{critical}", quoted(tag), quoted(value))
                }
                Rdata::Tlsa(usage, selector, matching, data) => {
                    format!("TLSA({name}, {usage}, {selector}, {matching}, {}", quoted(&hex(data)))
                }
            };
            // Writing to a String cannot fail.
            let _ = write!(out, ",\n  {call}, TTL({}))", set.ttl.0);
        }
    }
    out + "\n);\n"
}

/// Resources, whose zones are `var.zone_ids["example.org"]` where the provider knows them by a number.
fn terraform(zones: &[&Zone], kind: &dyn Fn(&DomainName) -> Option<&'static str>) -> Files {
    let mut resources: Map<String, Json> = Map::new();
    let (mut lacking, mut numbered) = (Vec::new(), false);
    let mut put = |resource: &str, name: String, body: Json| {
        let of = resources.entry(resource).or_insert_with(|| json!({}));
        if let Some(of) = of.as_object_mut() {
            of.insert(name, body);
        }
    };
    for zone in zones {
        let by = kind(&zone.name);
        let id = format!("${{var.zone_ids[{}]}}", quoted(zone.name.as_str()));
        for set in &zone.sets {
            let label: String = format!("{}_{}", set.name, set.kind.name().to_ascii_lowercase());
            let label = label.replace(|c: char| !c.is_ascii_alphanumeric() && c != '_', "_");
            let label = if label.starts_with(|c: char| c.is_ascii_digit()) { format!("_{label}") } else { label };
            match by {
                Some("route53") => {
                    numbered = true;
                    let records: Vec<String> = set.values.iter().map(aws).collect();
                    let (name, ttl) = (set.name.as_str(), set.ttl.0);
                    let body =
                        json!({ "zone_id": id, "name": name, "type": set.kind.name(), "ttl": ttl, "records": records });
                    put("aws_route53_record", label, body);
                }
                Some("cloudflare") => {
                    numbered = true;
                    for (n, value) in set.values.iter().enumerate() {
                        put("cloudflare_dns_record", format!("{label}_{n}"), cloudflare(&id, set, value));
                    }
                }
                _ => match generic(zone, set) {
                    Some((resource, body)) => put(resource, label, body),
                    None => lacking.push(format!("{} {}", set.name, set.kind.name())),
                },
            }
        }
    }
    let mut all = json!({ "resource": resources });
    if numbered && let Some(all) = all.as_object_mut() {
        let says = "The ids of the zones, by their names";
        let variable = json!({ "zone_ids": { "type": "map(string)", "description": says } });
        all.insert("variable".into(), variable);
    }
    let text = format!("{all:#}\n");
    Files { files: vec![File { name: "waybill.tf.json".into(), text }], lacking }
}

/// What stands for a template in Terraform's strings is written twice.
fn plain(text: &str) -> String {
    text.replace("${", "$${").replace("%{", "%%{")
}

fn aws(value: &Rdata) -> String {
    match value {
        // Terraform puts the outer quotes there itself, and takes the inner ones between strings.
        Rdata::Txt(_) => plain(value.to_string().trim_matches('"')).replace("\" \"", "\"\""),
        other => plain(&other.to_string()),
    }
}

fn cloudflare(zone: &str, set: &RecordSet, value: &Rdata) -> Json {
    let bare = |name: Option<&DomainName>| name.map_or(".", DomainName::as_str).to_owned();
    let own = match value {
        Rdata::Mx(preference, to) => json!({ "content": bare(to.as_ref()), "priority": preference }),
        Rdata::Cname(to) => json!({ "content": bare(Some(to)) }),
        Rdata::Srv(priority, weight, port, to) => json!({
            "data": { "priority": priority, "weight": weight, "port": port, "target": bare(to.as_ref()) },
            "priority": priority,
        }),
        Rdata::Caa(flags, tag, value) => json!({ "data": { "flags": flags, "tag": tag, "value": value } }),
        Rdata::Tlsa(usage, selector, matching, data) => json!({
            "data": { "usage": usage, "selector": selector, "matching_type": matching, "certificate": hex(data) },
        }),
        other => json!({ "content": plain(&other.to_string()) }),
    };
    let mut body = json!({ "zone_id": zone, "name": set.name.as_str(), "type": set.kind.name(), "ttl": set.ttl.0 });
    if let (Some(body), Json::Object(own)) = (body.as_object_mut(), own) {
        body.extend(own);
    }
    body
}

/// A set for Terraform's `dns` provider, which makes dynamic updates; `None` where that has no such type.
fn generic(zone: &Zone, set: &RecordSet) -> Option<(&'static str, Json)> {
    let name = zone.relative(&set.name);
    let mut body = json!({ "zone": format!("{}.", zone.name), "ttl": set.ttl.0 });
    let all = body.as_object_mut()?;
    if name != "@" {
        all.insert("name".into(), name.into());
    }
    let texts = || Json::from(set.values.iter().map(ToString::to_string).collect::<Vec<_>>());
    let (resource, field, values) = match set.kind {
        Kind::A => ("dns_a_record_set", "addresses", texts()),
        Kind::Aaaa => ("dns_aaaa_record_set", "addresses", texts()),
        Kind::Cname => ("dns_cname_record", "cname", set.values.first()?.to_string().into()),
        Kind::Txt => {
            let text = |value: &Rdata| match value {
                Rdata::Txt(text) => plain(text),
                other => other.to_string(),
            };
            ("dns_txt_record_set", "txt", set.values.iter().map(text).collect::<Vec<_>>().into())
        }
        Kind::Mx => {
            let one = |value: &Rdata| match value {
                Rdata::Mx(preference, to) => json!({ "preference": preference, "exchange": host(to.as_ref()) }),
                _ => Json::Null,
            };
            ("dns_mx_record_set", "mx", set.values.iter().map(one).collect())
        }
        Kind::Srv => {
            let one = |value: &Rdata| match value {
                Rdata::Srv(priority, weight, port, to) => {
                    json!({ "priority": priority, "weight": weight, "port": port, "target": host(to.as_ref()) })
                }
                _ => Json::Null,
            };
            ("dns_srv_record_set", "srv", set.values.iter().map(one).collect())
        }
        Kind::Caa | Kind::Tlsa => return None,
    };
    all.insert(field.into(), values);
    Some((resource, body))
}

#[cfg(test)]
mod tests {
    use super::natural;

    #[test]
    fn names_are_sorted_as_people_do() {
        let mut names = ["s10", "", "_dmarc", "s9", "s", "2fa"];
        names.sort_by_key(|name| natural(name));
        assert_eq!(names, ["", "2fa", "_dmarc", "s", "s9", "s10"]);
    }
}

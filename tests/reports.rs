//! What a plan does to mail that receivers report, and to certificates that are to be renewed.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use harness::bind::empty_zone;
use harness::{next_month, program};
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

const DAY: u64 = 86_400;

struct Site(TempDir);

impl Site {
    /// A zone in a file, and a spec with this in its domain.
    fn new(inside: &str) -> Site {
        let site = Site(tempfile::tempdir().unwrap());
        fs::create_dir(site.path().join("reports")).unwrap();
        fs::write(site.path().join("example.org.zone"), empty_zone("example.org")).unwrap();
        site.spec("", inside);
        site
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn spec(&self, top: &str, inside: &str) {
        let text = format!(
            "waybill 1\nhost \"mail.example.org\" {{\n    address \"192.0.2.25\"\n    listen {{ smtp 25; https 443; }}\n    \
             tls {{ acme \"letsencrypt\"; }}\n}}\n\
             store \"local\" {{ rocksdb \"data\"; }}\ndns \"main\" {{ zonefile \".\"; }}\n{top}\
             domain \"example.org\" {{\n    dns \"main\"\n    account \"postmaster\"\n{inside}\n}}\n"
        );
        fs::write(self.path().join("mail.kdl"), text).unwrap();
    }

    /// `plan` or `apply`, which ends with a code; what it said. What is not in the zones nobody answers.
    fn ends(&self, code: i32, arguments: &[&str]) -> String {
        let mut command = Command::new(program("waybill"));
        command.arg(arguments[0]).arg(self.path()).args(&arguments[1..]).args(["--resolver", "127.0.0.1:9"]);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        // Findings are wrapped for people.
        said.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ")
    }

    /// The plan with reports.
    fn weighed(&self, code: i32) -> String {
        let reports = self.path().join("reports");
        self.ends(code, &["plan", "--reports", reports.to_str().unwrap()])
    }

    fn report(&self, name: &str, text: &[u8]) {
        fs::write(self.path().join("reports").join(name), text).unwrap();
    }
}

/// Messages from an address: how many, whether in line with the From, for whom SPF and DKIM pass, and an excuse.
struct Row<'a>(&'a str, u32, bool, &'a str, &'a str, &'a str);

/// A report that ended so many days ago.
fn report(id: u32, days: u64, rows: &[Row<'_>]) -> String {
    let end = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() - days * DAY;
    let mut records = String::new();
    for Row(ip, count, aligned, spf, dkim, excuse) in rows {
        let result = if *aligned { "pass" } else { "fail" };
        let reason = if excuse.is_empty() { String::new() } else { format!("<reason><type>{excuse}</type></reason>") };
        let spf = if spf.is_empty() {
            String::new()
        } else {
            format!("<spf><domain>{spf}</domain><result>pass</result></spf>")
        };
        let dkim = if dkim.is_empty() {
            String::new()
        } else {
            format!("<dkim><domain>{dkim}</domain><result>pass</result></dkim>")
        };
        write!(
            records,
            "<record><row><source_ip>{ip}</source_ip><count>{count}</count><policy_evaluated>\
             <disposition>none</disposition><dkim>{result}</dkim><spf>fail</spf>{reason}</policy_evaluated></row>\
             <identifiers><header_from>example.org</header_from></identifiers><auth_results>{spf}{dkim}</auth_results></record>"
        )
        .unwrap();
    }
    format!(
        "<?xml version=\"1.0\"?><feedback><report_metadata><org_name>receiver.example</org_name>\
         <email>dmarc@receiver.example</email><report_id>{id}</report_id>\
         <date_range><begin>{}</begin><end>{end}</end></date_range></report_metadata>\
         <policy_published><domain>example.org</domain><p>none</p></policy_published>{records}</feedback>",
        end - DAY
    )
}

#[test]
fn a_sender_in_use_is_not_dropped_from_spf() {
    let site = Site::new("    spf { ip4 \"203.0.113.5\"; ip4 \"203.0.113.6\"; }");
    site.ends(0, &["apply", "--yes"]);
    // The same report came twice, packed and in a message; one is old, and one is none.
    let one = report(
        1,
        1,
        &[Row("203.0.113.5", 40, true, "example.org", "", ""), Row("192.0.2.25", 9, true, "example.org", "", "")],
    );
    site.report("message.eml", format!("Subject: report\r\nContent-Type: text/xml\r\n\r\n{one}\r\n").as_bytes());
    site.report("one.xml", one.as_bytes());
    let zip = site.path().join("reports/one.zip");
    let script = "import sys,zipfile,gzip; t=sys.argv[2].encode(); z=zipfile.ZipFile(sys.argv[1],'w',zipfile.ZIP_DEFLATED); z.writestr('r.xml',t); z.close(); gzip.open(sys.argv[1]+'.gz','wb').write(t)";
    let python = Command::new("python3").args(["-c", script, zip.to_str().unwrap(), &one]).status().unwrap();
    assert!(python.success());
    let old = report(2, 31, &[Row("203.0.113.6", 70, true, "example.org", "", "")]);
    site.report("old.xml", old.as_bytes());
    site.report("none.txt", b"see attached\n");
    site.spec("", "    spf { ip4 \"203.0.113.6\"; }");
    site.ends(2, &["plan"]);
    let said = site.weighed(3);
    assert!(said.contains("W0814") && said.contains("203.0.113.5 (40 messages, by receiver.example)"), "{said}");
    assert!(!said.contains("203.0.113.6 (") && !said.contains("192.0.2.25 ("), "{said}");
    assert!(said.contains("left out: ") && said.contains("none.txt"), "{said}");
    let reports = site.path().join("reports");
    site.ends(3, &["apply", "--yes", "--reports", reports.to_str().unwrap()]);
    // The host moves, and with it what `mx` means.
    site.spec("", "    spf { ip4 \"203.0.113.5\"; ip4 \"203.0.113.6\"; }");
    let text = fs::read_to_string(site.path().join("mail.kdl")).unwrap();
    fs::write(site.path().join("mail.kdl"), text.replace("192.0.2.25", "192.0.2.26")).unwrap();
    let said = site.weighed(3);
    assert!(said.contains("192.0.2.25 (9 messages"), "{said}");
    // With a reason it goes, and what others allow in their zones is not known here.
    let allow = format!("allow W0814 reason=\"moved\" until=\"{}\"\n", next_month());
    site.spec(&allow, "    spf { include \"partner.example\"; ip4 \"203.0.113.6\"; }");
    let said = site.weighed(2);
    assert!(
        said.contains("not known, since DNS does not say: whether SPF of `example.org` still passes for 203.0.113.5"),
        "{said}"
    );
    site.spec(&allow, "    spf { ip4 \"203.0.113.6\"; }");
    site.weighed(2);
}

#[test]
fn a_policy_is_tightened_when_reports_show_that_it_may_be() {
    let site = Site::new("    dmarc \"none\"");
    site.ends(0, &["apply", "--yes"]);
    site.spec("", "    dmarc \"quarantine\"");
    site.ends(2, &["plan"]);
    let said = site.weighed(3);
    assert!(said.contains("W0815") && said.contains("no report of the last 30 days speaks of its mail"), "{said}");
    let good = Row("192.0.2.25", 900, true, "example.org", "example.org", "");
    let forger = Row("198.51.100.1", 5000, false, "", "", "");
    let passed_on = Row("198.51.100.2", 50, false, "list.example", "", "mailing_list");
    let partner = |count| Row("198.51.100.3", count, false, "news.example", "", "");
    site.report("one.xml", report(1, 1, &[good, forger, passed_on, partner(9)]).as_bytes());
    site.weighed(2);
    // One in a hundred of those who are no forgers.
    site.report("two.xml", report(2, 2, &[partner(11)]).as_bytes());
    let said = site.weighed(3);
    assert!(
        said.contains("20 of 920 messages of known senders fail it: 20 from 198.51.100.3 (news.example)"),
        "{said}"
    );
    site.spec(&format!("allow W0815 reason=\"known\" until=\"{}\"\n", next_month()), "    dmarc \"quarantine\"");
    site.weighed(2);
    // A policy that is relaxed harms nobody.
    site.ends(0, &["apply", "--yes"]);
    site.spec("", "    dmarc \"none\"");
    site.weighed(2);
}

#[test]
fn a_certificate_can_be_renewed_after_a_plan() {
    let site = Site::new("    caa");
    let zone = site.path().join("example.org.zone");
    let text = fs::read_to_string(&zone).unwrap();
    fs::write(&zone, text + "@ 300 CAA 0 issue \"ca.example\"\n").unwrap();
    // Ours stands beside the other.
    site.ends(0, &["apply", "--yes"]);
    site.spec("", "");
    let said = site.ends(3, &["plan"]);
    assert!(
        said.contains("W0816")
            && said.contains("`example.org CAA` lets no `letsencrypt.org")
            && said.contains("mail.kdl:"),
        "{said}"
    );
    // Without the other one nobody is kept from issuing.
    let text = fs::read_to_string(&zone).unwrap();
    let without: String =
        text.lines().filter(|line| !line.contains("ca.example")).fold(String::new(), |all, line| all + line + "\n");
    fs::write(&zone, without).unwrap();
    site.ends(2, &["plan"]);
}

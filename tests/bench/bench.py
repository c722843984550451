"""Figures, each beside its peer: what a build costs, how fast mail arrives, how fast a change is there."""

import glob, imaplib, json, os, re, resource, shutil, signal, socket, ssl, subprocess, sys, tempfile, time, urllib.request

BIN = sys.argv[1]
MESSAGES, SESSIONS, SIZE = 10_000, 10, 10_240
PASSWORD = "Hello world!"
TLS = ssl.create_default_context()
TLS.check_hostname, TLS.verify_mode = False, ssl.CERT_NONE


def say(what, figure):
    print(f"{what:70} {figure}", flush=True)


def port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def run(*command, **more):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}: {done.stdout}")
    return done.stdout


HASH = run("openssl", "passwd", "-6", "-salt", "saltstring", PASSWORD).strip()


def until(true, patience=600):
    end = time.monotonic() + patience
    while not true():
        if time.monotonic() > end:
            raise SystemExit("it does not come about")
        time.sleep(0.005)


def listening(number):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", number)) == 0


def host(ports):
    lines = "".join(f"        {name} {number}\n" for name, number in ports.items())
    return f'waybill 1\nhost "mail.example.org" {{\n    address "127.0.0.1"\n    listen {{\n{lines}    }}\n    tls {{ self-signed; }}\n}}\n'


def many(domains, accounts, password=HASH):
    """A spec of so many domains with so many accounts each, a file for every hundred domains, and the keys of all."""
    with tempfile.TemporaryDirectory() as folder:
        run(BIN + "/waybill", "init", folder + "/x", "--domain", "example.org", "--host", "mail.example.org")
        dkim = re.search(r"    dkim \{.*?\n    \}\n", open(folder + "/x/mail.kdl").read(), re.S).group(0)
        keys = {f"secrets/{name}": open(f"{folder}/x/secrets/{name}").read() for name in os.listdir(folder + "/x/secrets")}
    files = {}
    for d in range(domains):
        people = "".join(f'    account "user{a}" name="User {a}" {{\n        password (hash)"{password}"\n        alias "u{a}"\n    }}\n' for a in range(accounts))
        text = f'domain "d{d}.example" {{\n{dkim}{people}    alias "postmaster" "user0"\n    group "all" {{ member "user0" "user1"; }}\n}}\n'
        files.setdefault(f"domains/{d // 100:02}.kdl", []).append(text)
    return {name: "".join(texts) for name, texts in files.items()} | keys


def write(folder, files):
    for name, text in files.items():
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ".new", "w") as f:
            f.write(text)
        os.rename(path + ".new", path)


def build(folder):
    spec = os.path.join(folder, "spec")
    write(spec, many(1000, 10))
    write(spec, {"mail.kdl": host({"smtp": 25}) + 'store "local" { rocksdb "data"; }\ninclude "domains/*.kdl"\n'})
    octets = sum(os.path.getsize(path) for path in glob.glob(spec + "/**/*.kdl", recursive=True))
    times, peak = [], 0
    for n in range(5):
        out = os.path.join(folder, f"out{n}")
        began = time.monotonic()
        child = subprocess.Popen([BIN + "/waybill", "build", spec, "--out", out], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        times.append(time.monotonic() - began)
        assert status == 0
        peak = max(peak, usage.ru_maxrss)
    say(f"waybill build, 1,000 domains, 10,000 accounts ({octets >> 10} KiB of KDL)", f"{sorted(times)[2]:.2f} s, peak {peak >> 10} MiB (median of 5)")
    began = time.monotonic()
    run(BIN + "/waybill", "build", spec, "--out", os.path.join(folder, "out0"))
    say("the same, into a folder that holds it already", f"{time.monotonic() - began:.2f} s")


def bind(folder):
    """Answers for net. and example., so that SPF and DMARC of the sender are looked up and not waited for."""
    number = port()
    head = "$TTL 3600\n@ IN SOA ns hostmaster 1 3600 600 86400 300\n@ IN NS ns\nns IN A 127.0.0.1\n"
    zones = {"net": head + 'example IN TXT "v=spf1 ip4:127.0.0.1 -all"\nexample IN A 127.0.0.1\n'}
    config = f'options {{ directory "{folder}"; pid-file "{folder}/pid"; session-keyfile "{folder}/key"; listen-on port {number} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; recursion no; }};\ncontrols {{ }};\n'
    for zone, text in zones.items():
        write(folder, {f"{zone}.zone": text})
        config += f'zone "{zone}" {{ type primary; file "{folder}/{zone}.zone"; }};\n'
    write(folder, {"named.conf": config})
    child = subprocess.Popen(["named", "-g", "-c", folder + "/named.conf"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: "spf1" in subprocess.run(["dig", "@127.0.0.1", "-p", str(number), "+short", "+tries=1", "+time=1", "example.net", "TXT"], stdout=subprocess.PIPE, text=True).stdout)
    return child, number


def waybilld(spec, resolver, *before):
    log = open(spec + ".log", "a+")
    at = log.seek(0, 2)
    command = [*before, BIN + "/waybilld", "serve", "--spec", spec, "--resolver", f"127.0.0.1:{resolver}"]
    child = subprocess.Popen(command, stderr=log, env={**os.environ, "RUST_LOG": "warn,waybilld=info,server=info"})
    def ready():
        log.seek(at)
        said = log.read()
        assert child.poll() is None, said
        return " ready" in said
    until(ready, 60)
    return child


def stop(child):
    child.send_signal(signal.SIGTERM)
    child.wait()


def send(number):
    """MESSAGES by SESSIONS of Postfix's smtp-source, a mailbox each; how long until they are taken."""
    each = MESSAGES // SESSIONS
    sources = [["smtp-source", "-d", "-s", "1", "-m", str(each), "-l", str(SIZE), "-f", "x@example.net", "-t", f"user{n}@example.org", f"127.0.0.1:{number}"] for n in range(SESSIONS)]
    children = [subprocess.Popen(source) for source in sources]
    assert all(child.wait() == 0 for child in children)


def ours(folder, resolver, *before):
    ports = {"smtp": port(), "imaps": port(), "http": port()}
    spec = os.path.join(folder, "spec")
    people = "".join(f'account "user{n}" {{ password (hash)"{HASH}"; }}\n' for n in range(SESSIONS))
    write(spec, {"mail.kdl": host(ports) + f'store "local" {{ rocksdb "data"; }}\ndomain "example.org" {{\n{people}alias "postmaster" "user0"\n}}\n'})
    child = waybilld(spec, resolver, *before)
    def count():
        arrived = 0
        for client in clients:
            client.noop()
            arrived += int(re.search(rb"MESSAGES (\d+)", client.status("INBOX", "(MESSAGES)")[1][0]).group(1))
        return arrived
    clients = [imaplib.IMAP4_SSL("127.0.0.1", ports["imaps"], ssl_context=TLS) for _ in range(SESSIONS)]
    for n, client in enumerate(clients):
        client.login(f"user{n}@example.org", PASSWORD)
    began = time.monotonic()
    send(ports["smtp"])
    taken = time.monotonic() - began
    until(lambda: count() == MESSAGES)
    arrived = time.monotonic() - began
    rss = int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{child.pid}/status").read()).group(1)) >> 10
    stop(child)
    return taken, arrived, rss


def peer(folder):
    """Postfix, delivering to Dovecot by LMTP: what Debian has, each syncing each message before it says so."""
    os.chmod(folder, 0o755)
    smtp, imap = port(), port()
    mail = os.path.join(folder, "mail")
    os.makedirs(mail)
    uid = int(run("id", "-u", "mail"))
    os.chown(mail, uid, uid)
    for part in ("run", "state", "queue", "lib", "etc"):
        os.makedirs(os.path.join(folder, part))
    shutil.chown(os.path.join(folder, "lib"), "postfix")
    write(folder, {"dovecot.conf": f"""
protocols = lmtp imap
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/dovecot.log
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
mail_location = maildir:{mail}/%n
mail_fsync = always
first_valid_uid = 1
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = static
  args = uid={uid} gid={uid} home={mail}/%n.home
}}
service lmtp {{
  process_min_avail = 4
  unix_listener lmtp {{
    mode = 0666
  }}
}}
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
"""})
    etc = os.path.join(folder, "etc")
    write(etc, {"main.cf": f"""
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/lib
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = mail.example.org
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
virtual_mailbox_domains = example.org
virtual_mailbox_maps = static:all
virtual_transport = lmtp:unix:{folder}/run/lmtp
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_client_connection_count_limit = 0
maillog_file = {folder}/postfix.log
maillog_file_prefixes = {folder}
"""})
    master = open("/usr/share/postfix/master.cf.dist").read()
    lines = [re.sub(r"^smtp(\s+)inet", f"127.0.0.1:{smtp}\\1inet", line) for line in master.splitlines()]
    # Nothing runs chrooted, and everything else is Debian's default.
    lines = [re.sub(r"^(\S+\s+\S+\s+\S+\s+\S+\s+)y", r"\1n", line) for line in lines]
    write(etc, {"master.cf": "\n".join(lines) + "\n"})
    dovecot = subprocess.Popen(["dovecot", "-F", "-c", folder + "/dovecot.conf"])
    run("postfix", "-c", etc, "start")
    try:
        until(lambda: listening(smtp) and os.path.exists(f"{folder}/run/lmtp"), 60)
        began = time.monotonic()
        send(smtp)
        taken = time.monotonic() - began
        count = lambda: sum(len(os.listdir(path)) for path in glob.glob(f"{mail}/user*/new"))
        until(lambda: count() == MESSAGES)
        return taken, time.monotonic() - began
    finally:
        run("postfix", "-c", etc, "stop")
        stop(dovecot)


def syncs(trace):
    return len(re.findall(r"(?:fsync|fdatasync).*= 0", open(trace).read()))


def arrival(folder):
    named, resolver = bind(tempfile.mkdtemp(dir=folder))
    try:
        taken, arrived = peer(tempfile.mkdtemp(dir=folder))
        say(f"Postfix to Dovecot LMTP, {MESSAGES:,} of 10 kB over {SESSIONS} sessions", f"{MESSAGES / arrived:,.0f}/s in mailboxes ({arrived:.1f} s; taken in {taken:.1f} s)")
        peers = MESSAGES / arrived
        taken, arrived, rss = ours(tempfile.mkdtemp(dir=folder), resolver)
        say("waybilld, the same", f"{MESSAGES / arrived:,.0f}/s in mailboxes ({arrived:.1f} s; taken in {taken:.1f} s), {rss} MiB resident")
        say("waybilld's rate in Postfix and Dovecot's", f"{MESSAGES / arrived / peers:.1f} times")
    finally:
        stop(named)


def reload(folder):
    named, resolver = bind(tempfile.mkdtemp(dir=folder))
    ports = {"smtp": port(), "imaps": port(), "http": port()}
    spec = os.path.join(folder, "many")
    files = many(1000, 10)
    write(spec, files)
    text = host(ports) + 'store "local" { rocksdb "data"; }\nlimits { connections-per-address 5000; }\ninclude "domains/*.kdl"\n'
    write(spec, {"mail.kdl": text})
    child = waybilld(spec, resolver)
    memory = lambda: int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{child.pid}/status").read()).group(1)) >> 10
    say("waybilld with 1,000 domains and 10,000 accounts", f"{memory()} MiB resident")
    resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
    idle = []
    for n in range(1000):
        client = imaplib.IMAP4_SSL("127.0.0.1", ports["imaps"], ssl_context=TLS)
        client.login(f"user{n % 10}@d{n // 10}.example", PASSWORD)
        client.select()
        client.send(b"i IDLE\r\n")
        assert client.readline().startswith(b"+")
        idle.append(client)
    say("the same, with 1,000 idle IMAP connections under TLS", f"{memory()} MiB resident")
    generation = lambda: json.load(urllib.request.urlopen(f"http://127.0.0.1:{ports['http']}/ready"))["generation"]
    times = []
    for n in range(5):
        name = f"fresh{n}"
        changed = files["domains/05.kdl"].replace('    account "user0"', f'    account "{name}" {{ password (hash)"{HASH}"; }}\n    account "user0"', 1)
        running = generation()
        began = time.monotonic()
        write(spec, {"domains/05.kdl": changed})
        # Not by trying to log in: failed logins are answered ever later.
        until(lambda: generation() != running)
        client = imaplib.IMAP4_SSL("127.0.0.1", ports["imaps"], ssl_context=TLS)
        client.login(f"{name}@d500.example", PASSWORD)
        times.append(time.monotonic() - began)
        client.logout()
    say("from the write of one account in that spec to its login", f"{sorted(times)[2]:.2f} s (median of 5: {', '.join(f'{t:.2f}' for t in times)})")
    stop(child)
    stop(named)


def cpu(*command, ends=(0,)):
    """Runs a command: the seconds of CPU that it took, the seconds that passed, and its peak in MiB."""
    began = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    if os.waitstatus_to_exitcode(status) not in ends:
        raise SystemExit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return usage.ru_utime + usage.ru_stime, time.monotonic() - began, usage.ru_maxrss >> 10


def zones(folder):
    """A plan over many zones in files, beside OctoDNS from and to YAML, each with one worker and the same zones."""
    run("python3", "-m", "venv", folder + "/python")
    run(folder + "/python/bin/pip", "install", "--quiet", "octodns==1.22.0")
    waybill, octodns = BIN + "/waybill", folder + "/python/bin/octodns-sync"
    for count in (1_000, 10_000):
        spec, live = f"{folder}/spec{count}", f"{folder}/live{count}"
        os.makedirs(live)
        names = [f"d{n}.example" for n in range(count)]
        domains = "".join(f'domain "{name}" {{ dkim {{ key "a" ed25519 public="11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=" private=(file)"k"; }}; dns {{ record "www" A "192.0.2.80"; record "@" CAA "0 issue letsencrypt.org"; }}; account "postmaster"; }}\n' for name in names)
        text = f'waybill 1\nhost "mail.example.net" {{ address "192.0.2.25"; }}\nstore "s" {{ rocksdb "d"; }}\ndns "main" {{ zonefile "{live}"; }}\ndefaults {{ domain {{ dns "main"; }}; }}\n'
        write(spec, {"mail.kdl": text + domains, "k": "x"})
        soa = "@ 3600 IN SOA ns1.example.net. a.example.net. 1 3600 900 1209600 300\n@ 3600 IN NS ns1.example.net.\n"
        write(live, {f"{name}.zone": f"$ORIGIN {name}.\n{soa}" for name in names})
        sets = run(waybill, "plan", spec, "--format", "octodns", "--only", names[0]).count("    type: ")
        what = f"{count:,} zones of {sets} record sets"
        told = lambda took: f"{took[0]:.2f} s of CPU ({took[1]:.2f} s, {took[2]} MiB)"
        say(f"waybill plan, everything new, {what}", told(cpu(waybill, "plan", spec, ends=(2,))))
        run(waybill, "apply", spec, "--yes")
        say(f"waybill plan, nothing to do, {what}", told(cpu(waybill, "plan", spec)))
        run(waybill, "plan", spec, "--format", "octodns", "--out", f"{folder}/yaml{count}")
        listed = "".join(f"  {name}.:\n    sources: [config]\n    targets: [copy]\n" for name in names)
        providers = "".join(f"  {name}:\n    class: octodns.provider.yaml.YamlProvider\n    directory: {folder}/{at}{count}\n" for name, at in (("config", "yaml"), ("copy", "copy")))
        write(folder, {"config.yaml": f"manager:\n  max_workers: 1\nproviders:\n{providers}zones:\n{listed}"})
        sync = (octodns, "--quiet", "--config-file", folder + "/config.yaml")
        say(f"OctoDNS, everything new, {what}", told(cpu(*sync)))
        run(*sync, "--doit")
        say(f"OctoDNS, nothing to do, {what}", told(cpu(*sync)))


for name in sys.argv[2:]:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        {"build": build, "arrival": arrival, "reload": reload, "zones": zones}[name](folder)

"""What people of the spec cost a server: people.py BIN [ACCOUNTS], where BIN holds `waybill` and `waybilld`.

Starts waybilld on configurations of few and of many people, and prints what the many take longer until it serves, and
how much more memory for each: with one alias and one hash, in one domain and in a thousand.
"""

import json, os, re, signal, socket, subprocess, sys, tempfile, time

BIN = sys.argv[1]
MANY = int(sys.argv[2]) if len(sys.argv) > 2 else 100_000
FEW = 10
# A sha512-crypt string of "Hello world!"; what it opens does not matter here.
HASH = "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjlO/O817G3uBnIFNjnJQJuesI68OTLiBFdcbYEdFCoEOfaS35inz1"


def port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def configuration(folder, accounts, domains):
    """`runtime.json` of so many people, from that of one."""
    spec = os.path.join(folder, "spec")
    os.makedirs(spec, exist_ok=True)
    with open(spec + "/mail.kdl", "w") as file:
        file.write(f'waybill 1\nhost "mail.example.org" {{ address "127.0.0.1"; listen {{ http {port()}; }}; tls {{ self-signed; }}; }}\n')
        file.write(f'store "local" {{ rocksdb "data"; }}\ndomain "example.org" {{ account "postmaster" {{ password (hash)"{HASH}"; }}; }}\n')
    done = subprocess.run([BIN + "/waybill", "build", spec, "--out", folder + "/out"], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    runtime = json.load(open(folder + "/out/runtime.json"))
    pattern = runtime["domains"][0]
    runtime["domains"] = [{**pattern, "name": f"d{n:04}.example", "postmaster": None} for n in range(domains)]
    names = [f"user{n:06}@d{n % domains:04}.example" for n in range(accounts)]
    runtime["accounts"] = [
        {"address": name, "name": f"User {n}", "credentials": [{"hash": HASH}], "aliases": ["u" + name]}
        for n, name in enumerate(names)
    ]
    with open(folder + "/runtime.json", "w") as file:
        json.dump(runtime, file, indent=2)
    return os.path.getsize(folder + "/runtime.json")


def served(folder):
    """Seconds until it serves, and KiB that it then has in memory, at rest and at most."""
    began = time.monotonic()
    command = [BIN + "/waybilld", "serve", "--config", folder + "/runtime.json"]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    for line in child.stderr:
        if " ready" in line:
            break
    else:
        raise SystemExit("waybilld does not start")
    took = time.monotonic() - began
    status = open(f"/proc/{child.pid}/status").read()
    memory = [int(re.search(rf"{name}:\s+(\d+)", status).group(1)) for name in ("VmRSS", "VmHWM")]
    child.send_signal(signal.SIGTERM)
    child.communicate()
    return took, *memory


def median(folder):
    return [sorted(figures)[1] for figures in zip(*(served(folder) for _ in range(3)))]


for domains in (1, 1000):
    with tempfile.TemporaryDirectory() as folder:
        configuration(folder, FEW, domains)
        few = median(folder)
        octets = configuration(folder, MANY, domains)
        many = median(folder)
        seconds, rest, most = (m - f for m, f in zip(many, few))
        each = lambda kib: f"{kib * 1024 // MANY:,} octets"
        print(f"{MANY:,} accounts in {domains:,} domains, {octets >> 20} MiB of runtime.json: {seconds:.2f} s longer until ready,", end=" ")
        print(f"{each(rest)} of memory each ({each(most)} at the peak of loading); median of 3", flush=True)

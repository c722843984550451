"""A spec of many domains and people: the figures of the compiler's page are taken from it.

many.py DIR [--domains 10000] [--accounts 10] [--files]: DIR/one holds one file of domains, or, with --files, DIR/many
holds a file a domain. Prints how many octets of KDL there are. The same every time.
"""

import argparse, os

# A sha512-crypt string of "Hello world!"; what it opens does not matter here.
HASH = "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjlO/O817G3uBnIFNjnJQJuesI68OTLiBFdcbYEdFCoEOfaS35inz1"
HEAD = """waybill 1
host "mail.example.org" {
    address "192.0.2.25"
    tls { self-signed; }
}
store "local" { rocksdb "data"; }
"""


def domain(number, accounts):
    people = "".join(
        f'    account "user{a}" name="User {a}" {{\n        password (hash)"{HASH}"\n        alias "u{a}"\n    }}\n'
        for a in range(accounts)
    )
    return f'domain "d{number}.example" {{\n{people}    alias "postmaster" "user0"\n    group "all" {{ member "user0" "user1"; }}\n}}\n'


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)
    return len(text)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--domains", type=int, default=10_000)
    parser.add_argument("--accounts", type=int, default=10)
    parser.add_argument("--files", action="store_true")
    given = parser.parse_args()
    texts = [domain(number, given.accounts) for number in range(given.domains)]
    if given.files:
        octets = write(f"{given.folder}/many/mail.kdl", HEAD + 'include "domains/*.kdl"\n')
        octets += sum(write(f"{given.folder}/many/domains/d{at:05}.kdl", text) for at, text in enumerate(texts))
    else:
        octets = write(f"{given.folder}/one/mail.kdl", HEAD + "".join(texts))
    print(octets)


if __name__ == "__main__":
    main()

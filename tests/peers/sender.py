"""What a sender and a receiver elsewhere make of a domain, by the code of others.

MTA-STS by postfix-mta-sts-resolver, DMARC of a forged message by authheaders; both see the world of one name server.
"""

import asyncio
import json
import logging
import sys

import aiodns
import aiohttp.connector
import aiohttp.resolver
import authheaders
import dns.message
import dns.query
import dns.rdatatype
from postfix_mta_sts_resolver.resolver import STSResolver

port, domain = int(sys.argv[1]), sys.argv[2]
logging.basicConfig(stream=sys.stderr)


def ask(name, kind):
    answer = dns.query.udp(dns.message.make_query(name, kind), "127.0.0.1", port=port, timeout=5)
    return [record for found in answer.answer if found.rdtype == dns.rdatatype.from_text(kind) for record in found]


def text(name, kind="TXT"):
    records = ask(name, "TXT")
    return b"".join(records[0].strings).decode() if records else None


async def policy():
    here = {"nameservers": ["127.0.0.1"], "udp_port": port, "tcp_port": port}
    aiohttp.connector.DefaultResolver = lambda loop=None: aiohttp.resolver.AsyncResolver(loop, **here)
    resolver = STSResolver(timeout=10, loop=asyncio.get_running_loop())
    resolver._resolver = aiodns.DNSResolver(**here)
    return await resolver.resolve(domain)


status, found = asyncio.run(policy())
identity, terms = found or (None, None)
_, result, _, wish = (list(authheaders.dmarc_per_from(domain, dnsfunc=text)) + [None] * 4)[:4]
print(
    json.dumps(
        {
            "sts": status.name,
            "id": identity,
            "policy": terms,
            "mx": sorted(str(record.exchange).rstrip(".") for record in ask(domain, "MX")),
            "dmarc": wish,
        }
    )
)

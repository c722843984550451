"""Cloudflare's own client against a server that says it is Cloudflare: every call that DNS needs, and what comes back."""

import sys

from cloudflare import BadRequestError, Cloudflare, NotFoundError, PermissionDeniedError

url, token, account, name = sys.argv[1:]
client = Cloudflare(base_url=url, api_token=token, max_retries=3)

zones = list(client.zones.list(name=name, account={"id": account}))
assert [zone.name for zone in zones] == [name], zones
zone = zones[0].id
records = client.dns.records

made = records.create(zone_id=zone, type="A", name=f"api.{name}", content="192.0.2.1", ttl=120)
assert (made.name, made.content, made.ttl, made.proxied) == (f"api.{name}", "192.0.2.1", 120, False), made
same = records.get(made.id, zone_id=zone)
assert same.content == made.content
edited = records.edit(made.id, zone_id=zone, type="A", name=f"api.{name}", content="192.0.2.2", ttl=180)
assert (edited.content, edited.ttl) == ("192.0.2.2", 180), edited
put = records.update(made.id, zone_id=zone, type="A", name=f"api.{name}", content="192.0.2.3", ttl=1)
assert (put.content, put.ttl) == ("192.0.2.3", 1), put

srv = records.create(
    zone_id=zone, type="SRV", name=f"_api._tcp.{name}", ttl=300,
    data={"priority": 1, "weight": 2, "port": 993, "target": f"mail.{name}"},
)
assert srv.content == f"2 993 mail.{name}" and srv.data.port == 993, srv
caa = records.create(
    zone_id=zone, type="CAA", name=f"api.{name}", ttl=300, data={"flags": 0, "tag": "issue", "value": "ca.example"}
)
assert caa.content == '0 issue "ca.example"', caa
tlsa = records.create(
    zone_id=zone, type="TLSA", name=f"_25._tcp.api.{name}", ttl=300,
    data={"usage": 3, "selector": 1, "matching_type": 1, "certificate": "AB" * 32},
)
assert tlsa.content == "3 1 1 " + "ab" * 32, tlsa
text = records.create(zone_id=zone, type="TXT", name=f"api.{name}", content='"' + "x" * 255 + '" "y"', ttl=300)
assert text.content.replace('" "', "") == '"' + "x" * 255 + 'y"', text

for wrong, refusal in [
    (lambda: records.create(zone_id=zone, type="A", name=f"api.{name}", content="192.0.2.3", ttl=1), BadRequestError),
    (lambda: records.create(zone_id=zone, type="A", name=f"api.{name}", content="mail", ttl=1), BadRequestError),
    (lambda: records.create(zone_id=zone, type="A", name=f"low.{name}", content="192.0.2.3", ttl=5), BadRequestError),
    (lambda: records.create(zone_id=zone, type="CNAME", name=f"api.{name}", content="x.example", ttl=1), BadRequestError),
    (lambda: records.get("0" * 32, zone_id=zone), NotFoundError),
    (lambda: list(Cloudflare(base_url=url, api_token="other").zones.list()), PermissionDeniedError),
]:
    try:
        wrong()
        raise SystemExit(f"expected {refusal}")
    except refusal as error:
        assert error.body["errors"][0]["code"], error.body

done = records.batch(
    zone_id=zone,
    deletes=[{"id": made.id}, {"id": text.id}],
    patches=[{"id": caa.id, "ttl": 600}],
    posts=[{"type": "CNAME", "name": f"batched.{name}", "content": f"mail.{name}", "ttl": 300}],
)
assert [one.id for one in done.deletes] == [made.id, text.id] and done.posts[0].type == "CNAME", done
# All or nothing.
try:
    records.batch(zone_id=zone, deletes=[{"id": srv.id}], patches=[{"id": "0" * 32, "ttl": 600}])
    raise SystemExit("expected a refusal")
except NotFoundError:
    assert records.get(srv.id, zone_id=zone).type == "SRV"

before = len(list(records.list(zone_id=zone, per_page=100)))
records.batch(
    zone_id=zone,
    posts=[{"type": "A", "name": f"p{n}.{name}", "content": "192.0.2.1", "ttl": 300} for n in range(150)],
)
names = [record.name for record in records.list(zone_id=zone, per_page=100)]
assert len(names) == before + 150 and len(set(names)) >= 150, names
for record in records.list(zone_id=zone, per_page=1000):
    if record.name.startswith("p"):
        records.delete(record.id, zone_id=zone)
print("done")

"""Clients that others wrote for deSEC, Gandi, DigitalOcean (OctoDNS's) and Hetzner (its own), against a server that claims
to be theirs: each writes a text, and finds it and an address among what is there."""

import sys

import octodns_desec
from hcloud import Client
from hcloud.zones import ZoneRecord
from octodns_desec import DesecAPI
from octodns_digitalocean import DigitalOceanClient
from octodns_gandi import GandiClient

url, zone, token = sys.argv[1:4]

DesecAPI.API_DOMAINS_URL = url + "/desec/domains"
desec = DesecAPI(token)
desec.update_rrset(zone, [{"subname": "desec", "type": "TXT", "ttl": 3600, "records": ['"a; b"']}])
found = {(one["subname"], one["type"]): one["records"] for one in desec.get_rrset(zone)}
assert found["desec", "TXT"] == ['"a; b"'] and found["ns1", "A"] == ["127.0.0.1"], found

gandi = GandiClient(token)
gandi.endpoint = url + "/gandi"
text = {"rrset_name": "gandi", "rrset_type": "TXT", "rrset_ttl": 3600, "rrset_values": ['"a; b"']}
gandi.record_create(zone, text)
found = {(one["rrset_name"], one["rrset_type"]): one["rrset_values"] for one in gandi.zone_records(zone)}
assert found["gandi", "TXT"] == ['"a; b"'] and found["ns1", "A"] == ["127.0.0.1"], found

DigitalOceanClient.BASE = url + "/digitalocean"
ocean = DigitalOceanClient(token)
ocean.record_create(zone, {"name": "digitalocean", "type": "TXT", "ttl": 3600, "data": "a; b"})
found = {(one["name"], one["type"]): one["data"] for one in ocean.records(zone)}
assert found["digitalocean", "TXT"] == "a; b" and found["ns1", "A"] == "127.0.0.1", found

hetzner = Client(token=token, api_endpoint=url + "/hetzner")
there = hetzner.zones.get(zone)
made = there.create_rrset(name="hetzner", type="TXT", ttl=3600, records=[ZoneRecord(value='"a; b"')])
made.action.wait_until_finished()
found = {(one.name, one.type): [record.value for record in one.records] for one in there.get_rrset_all()}
assert found["hetzner", "TXT"] == ['"a; b"'] and found["ns1", "A"] == ["127.0.0.1"], found
print("done")

"""The official clients of OVHcloud, Google Cloud DNS and Azure DNS, unchanged, against a server that claims to be theirs."""

import json
import sys
import time

import ovh
from azure.core.credentials import AccessToken
from azure.mgmt.dns import DnsManagementClient
from google.cloud import dns
from google.oauth2 import service_account

url, zone, secret, application, consumer, token, key = sys.argv[1:8]

# OVHcloud: signed by its own client, by the clock of the server.
client = ovh.Client(
    endpoint="ovh-eu", application_key=application, application_secret=secret, consumer_key=consumer
)
client._endpoint = url + "/ovh"
made = client.post(f"/domain/zone/{zone}/record", fieldType="TXT", subDomain="ovh", target='"a; b"', ttl=300)
assert client.get(f"/domain/zone/{zone}/record/{made['id']}")["target"] == '"a; b"', made
assert made["id"] in client.get(f"/domain/zone/{zone}/record", fieldType="TXT", subDomain="ovh")
client.post(f"/domain/zone/{zone}/refresh")

# Google: a token for an account's key, a change, and its pages.
info = json.loads(key)
account = service_account.Credentials.from_service_account_info(info, scopes=["https://www.googleapis.com/auth/ndev.clouddns.readwrite"])
client = dns.Client(project="mail-dns", credentials=account, client_options={"api_endpoint": url})
found = [one for one in client.list_zones() if one._properties.get("visibility") == "public"]
assert [one.dns_name for one in found] == [zone + "."], found
changes = found[0].changes()
changes.add_record_set(found[0].resource_record_set(f"google.{zone}.", "TXT", 300, ['"a; b"']))
changes.create()
assert changes.status == "done", changes.status
names = [one.name for one in found[0].list_resource_record_sets()]
assert f"google.{zone}." in names, names


class Known:
    def get_token(self, *scopes, **more):
        return AccessToken(token, int(time.time()) + 3600)


# Azure: a set, and its pages.
client = DnsManagementClient(Known(), "sub", base_url=url, api_version="2018-05-01")
body = {"properties": {"TTL": 300, "TXTRecords": [{"value": ["a; ", "b"]}]}}
client.record_sets.create_or_update("dns", zone, "azure", "TXT", body, enforce_https=False)
sets = list(client.record_sets.list_all_by_dns_zone("dns", zone, enforce_https=False))
assert "azure" in [one.name for one in sets], sets
print("done")

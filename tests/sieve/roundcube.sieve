require ["date","fileinto","imap4flags","mailbox","relational","reject","copy","vacation","comparator-i;ascii-numeric"];
# rule:[Newsletters]
if anyof (header :contains "list-id" ["rust-lang.org", "lwn.net"], exists "list-unsubscribe")
{
	fileinto :create "Newsletters";
	addflag "\\Seen";
	stop;
}
# rule:[big]
if allof (not header :contains "from" "boss@example.org", size :over 10M)
{
	reject text:
Your message is too large for me.
Please use a link.
.
;
	stop;
}
# rule:[off]
if false # true
{
	discard;
}
# rule:[vacation]
if allof (currentdate :value "ge" "date" "2026-12-24", currentdate :value "le" "date" "2027-01-02")
{
	vacation :days 7 :addresses ["ada@example.org", "a.lovelace@example.org"] :subject "Away" :from "Ada <ada@example.org>" text:
I am back on 3 January.
.
;
}
# rule:[score]
if header :value "ge" :comparator "i;ascii-numeric" "x-spam-score" "10"
{
	redirect :copy "spam@example.net";
	fileinto "Junk";
	stop;
}

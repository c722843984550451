//! To whom secrets are sealed.

use std::fmt;
use std::str::FromStr;

/// The longest recipient, in octets: an RSA key of 16,384 bits and a comment.
pub const RECIPIENT_MOST: usize = 4096;

/// The kinds of recipients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// age's own, `age1…`.
    X25519,
    /// `ssh-ed25519 …`
    SshEd25519,
    /// `ssh-rsa …`
    SshRsa,
}

/// Why a text is no recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRecipient {
    /// It is the private half. The most dangerous mistake, so it is told apart.
    #[error("is an identity, the private half: write the `age1…` that `age-keygen -y` prints of it")]
    Private,
    /// Neither age's nor SSH's.
    #[error("is neither an age recipient, `age1…`, nor an `ssh-ed25519` or `ssh-rsa` public key")]
    Form,
    /// A recipient of a plugin or of hardware.
    #[error("is a recipient of a plugin, which no server could open secrets with")]
    Plugin,
    /// An RSA key that is too short or too long.
    #[error("is an RSA key of less than 2048 bits, or of more than are taken")]
    Size,
}

/// One to whom secrets are sealed.
#[derive(Clone)]
pub enum Recipient {
    /// age's own.
    Age(age::x25519::Recipient),
    /// SSH's.
    Ssh(age::ssh::Recipient),
}

impl Recipient {
    /// Of which kind.
    pub fn kind(&self) -> Kind {
        match self {
            Recipient::Age(_) => Kind::X25519,
            Recipient::Ssh(age::ssh::Recipient::SshEd25519(..)) => Kind::SshEd25519,
            Recipient::Ssh(_) => Kind::SshRsa,
        }
    }

    pub(crate) fn key(&self) -> &dyn age::Recipient {
        match self {
            Recipient::Age(key) => key,
            Recipient::Ssh(key) => key,
        }
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Recipient::Age(key) => key.fmt(f),
            Recipient::Ssh(key) => key.fmt(f),
        }
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for Recipient {
    /// The same key; comments do not matter.
    fn eq(&self, other: &Recipient) -> bool {
        self.to_string() == other.to_string()
    }
}

impl FromStr for Recipient {
    type Err = NoRecipient;

    fn from_str(text: &str) -> Result<Recipient, NoRecipient> {
        use age::ssh::ParseRecipientKeyError as Wrong;
        let text = text.trim();
        if crate::identity::holds_identity(text) {
            return Err(NoRecipient::Private);
        }
        if text.len() > RECIPIENT_MOST || text.contains(char::is_control) {
            return Err(NoRecipient::Form);
        }
        if let Ok(key) = text.parse() {
            return Ok(Recipient::Age(key));
        }
        // The comment is no part of the key.
        let key: Vec<&str> = text.split_whitespace().take(2).collect();
        match key.join(" ").parse() {
            Ok(key) => Ok(Recipient::Ssh(key)),
            Err(Wrong::RsaModulusTooLarge | Wrong::RsaModulusTooSmall) => Err(NoRecipient::Size),
            // `age1NAME1…`, as hardware has.
            Err(_) if text.strip_prefix("age1").is_some_and(|rest| rest.contains('1')) => Err(NoRecipient::Plugin),
            Err(_) => Err(NoRecipient::Form),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn keys_of_age_and_ssh_are_taken() {
        for (text, kind) in [
            ("age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa", Kind::X25519),
            (
                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN ada@example.org",
                Kind::SshEd25519,
            ),
        ] {
            let recipient: Recipient = text.parse().unwrap();
            assert_eq!(recipient.kind(), kind);
            assert_eq!(recipient, text.split(" ada").next().unwrap().parse().unwrap());
        }
        for (text, why) in [
            ("AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33", NoRecipient::Private),
            ("age1yubikey1qg8lxy", NoRecipient::Plugin),
            ("ada@example.org", NoRecipient::Form),
            ("ecdsa-sha2-nistp256 AAAA", NoRecipient::Form),
            ("", NoRecipient::Form),
        ] {
            assert_eq!(text.parse::<Recipient>(), Err(why), "{text}");
        }
    }
}

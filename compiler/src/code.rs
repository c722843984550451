//! Every finding's code: what it means and which rule it comes from. A code, once given, never changes its meaning.

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing; the build goes on.
    Warning,
    /// Would lose mail, break authentication, lock people out, or cannot be built.
    Error,
}

macro_rules! codes {
    ($($code:ident $name:ident $severity:ident $(($mark:ident))?)*) => {
        /// A finding's code. What it means stands in its page, `docs/codes/W0123.md`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs, reason = "each has a page")]
        pub enum Code { $($name,)* }

        impl Code {
            /// Every code, by number.
            pub const ALL: &[Code] = &[$(Code::$name,)*];
            /// `W0123`.
            pub fn id(self) -> &'static str { match self { $(Code::$name => stringify!($code),)* } }
            /// Error or warning.
            pub fn severity(self) -> Severity { match self { $(Code::$name => Severity::$severity,)* } }
            /// Whether `allow` may bear it: every warning, and those errors that are a judgement. Never what cannot be
            /// built.
            pub fn allowable(self) -> bool {
                let marked = match self { $(Code::$name => [$(stringify!($mark))?].as_slice().contains(&"allowable"),)* };
                marked || self.severity() == Severity::Warning
            }
            /// The page that `waybill explain` prints, as Markdown: what is wrong, why it matters, how to mend it, and
            /// examples that fail and pass.
            pub fn page(self) -> &'static str {
                match self { $(Code::$name => include_str!(concat!("../../docs/codes/", stringify!($code), ".md")),)* }
            }
        }
    };
}

impl Code {
    /// The code `W0123`.
    pub fn named(id: &str) -> Option<Code> {
        Code::ALL.iter().copied().find(|code| code.id() == id)
    }

    /// Whether it is found only where two specs are compared, or a spec with what is live.
    pub fn needs_two(self) -> bool {
        ("W0800"..="W0819").contains(&self.id())
    }

    /// Whether it is found only where secrets are opened, so that its absence otherwise means nothing.
    pub fn needs_secrets(self) -> bool {
        matches!(self, Code::SecretAway | Code::SecretOpen | Code::TlsPair | Code::DkimPair | Code::NotOpened)
    }

    /// One line, the page's heading.
    pub fn title(self) -> &'static str {
        let heading = self.page().lines().next().unwrap_or_default();
        heading.split_once(": ").map_or(heading, |(_, title)| title)
    }

    /// The RFC section or rule it comes from; may be empty. The page's second paragraph, after the severity.
    pub fn rule(self) -> &'static str {
        let line = self.page().split("\n\n").nth(1).unwrap_or_default();
        line.split_once(". ").map_or("", |(_, rule)| rule.trim())
    }

    /// What stands before the examples, the third paragraph and on.
    pub fn text(self) -> &'static str {
        let body = self.page().split("\n## ").next().unwrap_or_default();
        body.splitn(3, "\n\n").nth(2).unwrap_or_default().trim()
    }
}

codes! {
    // 01xx: reading. Files, KDL, shape.
    W0101 NotReadable Error
    W0102 TooLarge Error
    W0103 TooDeep Error
    W0104 BadSyntax Error
    W0105 OldKdl Error
    W0106 OutsideSpec Error
    W0107 NothingIncluded Error
    W0108 NothingMatched Warning
    W0109 IncludeTooDeep Error
    W0110 NoLanguage Error
    W0111 OtherLanguage Error
    W0112 UnknownNode Error
    W0113 UnknownProperty Error
    W0114 ExtraArgument Error
    W0115 WrittenTwice Error
    W0116 NotGiven Error
    W0117 WrongKind Error
    W0118 WrongForm Error
    W0119 OutOfBounds Error
    W0120 PlainSecret Error
    W0121 UnknownAnnotation Error
    W0122 NotServed Warning
    W0123 NotDecoded Error
    W0124 SecretAway Error
    W0125 SecretOpen Warning
    W0126 NeverLate Warning
    W0140 Deprecated Warning
    W0160 NotSealed Error
    W0161 NotOpened Warning
    W0162 OtherRecipients Warning
    W0163 NoRecipient Warning
    W0164 RecipientTwice Warning
    W0170 UnknownEnvironment Error
    W0171 NothingWithout Error
    W0172 LikeTooLong Error
    W0173 TakesTooMuch Error
    // 02xx: names and references.
    W0201 NamedTwice Error
    W0202 UnknownHost Error
    W0203 NoHost Error
    W0204 UnknownDomain Error
    W0205 LikeCircle Error
    W0206 UnknownProvider Error
    W0207 UnknownDirectory Error
    W0208 UnknownRole Error
    W0209 UnknownRoute Error
    W0210 UnknownPool Error
    W0211 FileAway Error
    W0212 NoTables Error
    W0213 DelegateAway Error
    W0214 DelegateSelector Error
    // 03xx: people and addresses.
    W0301 TwoOwners Error
    W0302 Shadowed Error
    W0303 Circle Error
    W0304 UnknownPerson Error
    W0305 Nobody Warning
    W0306 NoPassword Warning
    W0307 MemberTwice Warning
    W0308 NoPostmaster Warning
    W0309 PasswordForm Error
    W0310 NoRoom Error
    W0311 Reserved Error
    W0312 NoPeople Warning
    W0313 WeakHash Warning
    W0314 OwnerLoops Error
    W0315 TooManyPeople Error
    W0316 PeopleColumn Error
    W0317 PeopleRecord Error
    W0318 PeopleSort Error
    W0320 ListRefuses Warning
    W0321 TakesNoMail Warning
    W0322 PeopleTwice Error
    W0323 QuotaSmall Warning
    W0324 NoAbuse Warning
    W0325 KeeperOutside Warning
    W0326 CatchAllOutside Warning
    W0327 TrapIdle Warning
    // 04xx: hosts, listeners, TLS.
    W0401 PortTaken Error
    W0402 NoAddress Warning
    W0403 NotPublic Warning
    W0404 SelfSigned Warning
    W0405 CertificateAway Warning
    W0406 CertificateForm Error
    W0407 CertificateName Error (allowable)
    W0408 CertificateDates Error (allowable)
    W0409 CertificateSoon Warning
    W0410 CertificateOthers Warning
    W0411 TlsKey Error
    W0412 DaneNeeds Error
    W0413 NoArrival Warning
    W0414 NoListener Error
    W0415 TlsPair Error
    W0416 ChainOrder Error (allowable)
    W0417 ChainShort Warning
    W0418 CertificateKey Error
    W0419 CertificateSum Error (allowable)
    W0420 CertificateUse Error (allowable)
    W0421 ClientNames Warning
    W0422 NoImplicitTls Warning
    W0423 HttpPublic Warning
    W0424 NoSubmission Warning
    W0425 PortOther Warning
    // 05xx: stores.
    W0501 OneKind Error
    W0503 UnknownStore Error
    W0504 WhichStore Error
    W0505 NoStore Warning
    W0506 UnusedStore Warning
    W0507 SameFolder Error
    W0508 MemoryForgets Warning
    W0510 SplitStore Error (allowable)
    W0511 SplitLookup Warning
    W0512 ClearStore Warning
    W0513 NestedStore Error
    W0514 CannotKeep Error
    W0530 ClearDirectory Warning
    W0531 DirectoryClash Error
    // 06xx: records: DKIM, SPF, DMARC, MTA-STS.
    W0601 NoDkim Warning
    W0602 KeyAway Error
    W0603 KeyForm Error
    W0604 KeyShort Error
    W0605 KeyWeak Warning
    W0606 PolicyUnserved Error
    W0608 SelectorTwice Error
    W0609 SelectorForm Error
    W0610 OnlyEd25519 Warning
    W0611 SpfTerm Error
    W0612 SpfLookups Error (allowable)
    W0613 ReportsElsewhere Warning
    W0614 ReportsToNobody Error (allowable)
    W0615 MaxAge Error
    W0616 EnforceSelfSigned Warning
    W0617 Unsigned Warning
    W0618 RecordForm Error
    W0619 CnameBeside Error
    W0620 NothingOmitted Warning
    W0621 Ttl Error (allowable)
    W0622 NoTlsa Warning
    W0623 NoCaa Warning
    W0624 DkimPair Error
    W0625 SpfTwice Error
    W0626 SpfCircle Error
    W0627 PolicyNoMail Error
    W0628 NullBeside Error
    W0629 OtherZone Error
    W0630 PolicyPort Warning
    W0631 NameLong Warning
    W0632 LockForm Error
    W0633 LockStale Warning
    W0634 NotLocked Warning
    W0635 SpfNoRecord Error
    W0636 SpfSyntax Error
    W0637 SpfVoid Error (allowable)
    W0638 SpfVoidFamily Warning
    W0639 SpfPtr Warning
    W0640 SpfAllowsAll Error
    W0641 SpfAfterAll Warning
    W0642 SpfNoAll Warning
    W0643 SpfLarge Warning
    W0644 HeloRecord Warning
    W0645 HostElsewhere Warning
    W0646 TxtQuotes Warning
    W0647 TxtLarge Warning
    W0648 DkimTesting Warning
    W0649 DkimRecord Error
    W0650 DkimReplaced Error
    W0651 DkimLong Warning
    W0652 DmarcForm Error
    W0653 DmarcOldTag Warning
    W0654 DmarcStrict Warning
    W0655 DmarcPsd Warning
    W0656 DmarcTesting Warning
    W0657 DmarcWeaker Warning
    W0658 StsMx Error
    W0659 StsHost Warning
    W0660 StsForeign Warning
    W0661 StsWildcard Warning
    W0662 StsForm Error
    W0663 StsId Warning
    W0664 DaneUsage Error
    W0665 DaneUnsigned Warning
    W0666 DaneSomeMx Warning
    W0667 DaneKey Error
    W0668 DaneCover Warning
    W0670 AliasTarget Error
    W0671 AddressTarget Error
    W0672 TargetGone Error
    W0673 NullMxPolicy Warning
    W0674 ReverseName Warning
    W0675 SrvListener Warning
    W0678 CaaForbids Error
    W0679 CaaCritical Error
    W0680 ProviderLimit Error
    // 07xx: scripts and policies.
    W0701 ScriptAway Error
    W0702 ScriptSyntax Error
    W0703 ScriptUnknown Error
    W0704 ScriptArgument Error
    W0705 ScriptValue Error
    W0706 ScriptNotOffered Error
    W0707 ScriptNotRequired Error
    W0708 ScriptOrder Error
    W0709 ScriptLimit Error
    W0710 ScriptUnreachable Warning
    W0711 ScriptNoEffect Warning
    W0712 ScriptDoubtful Warning
    W0713 ScriptLoops Warning
    W0720 StageWrong Error
    W0721 RuleUnreached Warning
    W0722 ThresholdOrder Error
    W0723 NoOutcome Error
    W0724 UseTwice Warning
    W0725 OpenRelay Error
    W0726 TlsForced Warning
    // 08xx: what the spec says of findings.
    W0800 DmarcLeap Error (allowable)
    W0801 SelectorReused Error (allowable)
    W0802 ExchangersMoved Error (allowable)
    W0803 PolicyWithdrawn Error (allowable)
    W0810 LastExchanger Error (allowable)
    W0811 KeyInUse Error (allowable)
    W0812 ManyRemoved Error (allowable)
    W0813 TlsaUnsigned Error (allowable)
    W0814 SenderLost Error (allowable)
    W0815 PolicyUnsupported Error (allowable)
    W0816 RenewalForbidden Error (allowable)
    W0820 LevelCode Error
    W0821 NotAllowable Error
    W0822 AllowDate Error
    W0823 AllowExpired Warning
    W0824 AllowSoon Warning
    W0825 AllowNothing Warning
    W0826 AllowReason Error
}

//! Zones as they were applied last, in the place of a provider: a plan without asking anybody, and without a secret.

use super::{Limits, Provider, ProviderError};
use crate::plan::{Change, Live};
use crate::state::State;
use async_trait::async_trait;
use schema::name::DomainName;

/// What was applied.
pub struct Recorded {
    state: State,
}

impl Recorded {
    /// Of a state.
    pub fn of(state: State) -> Recorded {
        Recorded { state }
    }
}

#[async_trait]
impl Provider for Recorded {
    fn limits(&self) -> Limits {
        Limits::dns("the state")
    }

    async fn read(&self, zone: &DomainName) -> Result<Live, ProviderError> {
        let sets = self.state.zones.get(zone).map(|applied| applied.sets.clone()).unwrap_or_default();
        Ok(Live { sets, ..Live::default() })
    }

    async fn write(&self, _: &DomainName, _: &[Change]) -> Result<(), ProviderError> {
        Err(ProviderError::Refused("nothing is written offline".into()))
    }
}

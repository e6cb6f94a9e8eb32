use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Provisioner;
use crate::error::ProvisionError;
use crate::once::{self, OnceRequest};

impl Provisioner {
    /// Does work that is not one transaction of the registry for the request of [`once`](Self::once), and keeps its answer. The same
    /// request again gets the answer without the work; one that comes before there is an answer does the work too, so the work must have one effect by
    /// itself. A refusal is not kept.
    ///
    /// # Errors
    /// Those of the work; [`ProvisionError::KeyReused`], before it; [`ProvisionError::Database`].
    pub async fn beside<T, E>(&self, work: impl Future<Output = Result<T, E>> + Send) -> Result<T, E>
    where
        T: Serialize + DeserializeOwned + Send + Sync,
        E: From<ProvisionError> + Send,
    {
        let Some(request) = self.once.as_deref() else { return work.await };
        if let Some(answer) = self.beside_started(request).await? {
            return Ok(answer);
        }
        match work.await {
            Ok(answer) => Ok(self.beside_finished(request, answer).await?),
            Err(refusal) => {
                if let Err(error) = self.beside_refused(request).await {
                    tracing::warn!(target: "tenantry::database", %error, "the key of a refused request stays taken for a day");
                }
                Err(refusal)
            }
        }
    }

    async fn beside_started<T: DeserializeOwned>(&self, request: &OnceRequest) -> Result<Option<T>, ProvisionError> {
        let client = self.control.get().await?;
        let found = once::start_beside(&client, request).await?;
        client.give_back();
        Ok(found)
    }

    async fn beside_finished<T: Serialize + DeserializeOwned>(
        &self,
        request: &OnceRequest,
        answer: T,
    ) -> Result<T, ProvisionError> {
        let client = self.control.get().await?;
        let answer = once::finish_beside(&client, request, answer).await?;
        client.give_back();
        Ok(answer)
    }

    async fn beside_refused(&self, request: &OnceRequest) -> Result<(), ProvisionError> {
        let client = self.control.get().await?;
        once::forget_beside(&client, request).await?;
        client.give_back();
        Ok(())
    }
}

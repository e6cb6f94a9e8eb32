//! How long a tenant takes to create, with and without a schema that waits for it.

use std::time::{Duration, Instant};

use anyhow::ensure;
use uuid::Uuid;

use crate::ground::{self, Ground};

/// Creations of each kind; one more before them warms the connection.
pub(super) const CREATIONS: usize = 60;

/// Milliseconds of every creation.
pub(super) struct Times {
    pub(super) cold: Vec<f64>,
    pub(super) warm: Vec<f64>,
}

/// Cold ones first: whoever creates takes a warm schema where there is one.
pub(super) async fn measure(ground: &Ground) -> anyhow::Result<Times> {
    let provisioner = &ground.provisioner;
    provisioner.reduce(0).await?;
    one(ground).await?;
    let mut cold = Vec::with_capacity(CREATIONS);
    for _ in 0..CREATIONS {
        cold.push(one(ground).await?);
    }
    provisioner.refill(CREATIONS + 1, Duration::ZERO).await?;
    one(ground).await?;
    let mut warm = Vec::with_capacity(CREATIONS);
    for _ in 0..CREATIONS {
        warm.push(one(ground).await?);
    }
    let left = provisioner.warm_status().await?.ready;
    ensure!(left == 0, "{left} warm schemas were not taken");
    Ok(Times { cold, warm })
}

/// Creates a tenant beside the counted fleet.
async fn one(ground: &Ground) -> anyhow::Result<f64> {
    let slug = format!("extra-{}", &Uuid::new_v4().simple().to_string()[..12]);
    let began = Instant::now();
    ground::create(&ground.provisioner, &slug).await?;
    Ok(began.elapsed().as_secs_f64() * 1000.0)
}

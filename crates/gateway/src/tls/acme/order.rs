//! One certificate: the order, the proofs that names are ours, and the chain.

use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationHandle, AuthorizationStatus, ChallengeType, Identifier, NewOrder, Order,
    OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};

use super::challenges::{Armed, Challenges};
use super::error::{self, AcmeError};
use crate::config::{AcmeChallenge, AcmeConfig};

/// How long an authority may take to look, and to sign.
const PATIENCE: RetryPolicy = RetryPolicy::new().timeout(Duration::from_secs(120));

/// Both in PEM.
pub(super) struct Made {
    pub(super) chain: String,
    pub(super) key: String,
}

/// Gets a certificate for the names of the settings, with a new key.
pub(super) async fn certificate(
    account: &Account,
    settings: &AcmeConfig,
    challenges: &Arc<Challenges>,
) -> Result<Made, AcmeError> {
    let names: Vec<String> = settings.names.iter().map(ToString::to_string).collect();
    let identifiers: Vec<Identifier> = names.iter().cloned().map(Identifier::Dns).collect();
    let ordered = account.new_order(&NewOrder::new(&identifiers)).await;
    let mut order = ordered.map_err(|error| AcmeError::asking("the order", &error))?;
    prove(&mut order, settings.challenge, challenges).await?;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key)?;
    order
        .finalize_csr(request.der())
        .await
        .map_err(|error| AcmeError::asking("the request for the certificate", &error))?;
    let chain = order
        .poll_certificate(&PATIENCE)
        .await
        .map_err(|error| AcmeError::asking("the certificate", &error))?;
    Ok(Made {
        chain,
        key: key.serialize_pem(),
    })
}

/// Until the authority has seen that all names are ours.
async fn prove(
    order: &mut Order,
    kind: AcmeChallenge,
    challenges: &Arc<Challenges>,
) -> Result<(), AcmeError> {
    let mut armed = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let authorization =
            authorization.map_err(|error| AcmeError::asking("an authorization", &error))?;
        if authorization.status == AuthorizationStatus::Pending {
            armed.push(answer(authorization, kind, challenges).await?);
        }
    }
    let looked = order.poll_ready(&PATIENCE).await;
    drop(armed);
    if matches!(looked, Ok(OrderStatus::Ready)) {
        return Ok(());
    }
    match (not_seen(order, kind).await, looked) {
        (Some(failed), _) => Err(failed),
        (None, Err(error)) => Err(AcmeError::asking("the proof", &error)),
        (None, Ok(_)) => Err(AcmeError::Asking {
            what: "the proof",
            cause: "the authority refuses it and does not say why".to_owned(),
        }),
    }
}

/// Gets the answer ready, and asks the authority to look.
async fn answer(
    mut authorization: AuthorizationHandle<'_>,
    kind: AcmeChallenge,
    challenges: &Arc<Challenges>,
) -> Result<Armed, AcmeError> {
    let name = authorization.identifier().to_string();
    let Some(mut challenge) = authorization.challenge(acme_kind(kind)) else {
        let kind = kind.as_str();
        return Err(AcmeError::NotOffered { kind, name });
    };
    let proof = challenge.key_authorization();
    let armed = match kind {
        AcmeChallenge::Http01 => challenges.arm_http(&challenge.token, proof.as_str()),
        AcmeChallenge::TlsAlpn01 => challenges.arm_tls(&name, proof.digest().as_ref())?,
    };
    challenge
        .set_ready()
        .await
        .map_err(|error| AcmeError::asking("the proof", &error))?;
    Ok(armed)
}

/// The first name that was looked at in vain.
async fn not_seen(order: &mut Order, kind: AcmeChallenge) -> Option<AcmeError> {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        if authorization.status == AuthorizationStatus::Valid
            || authorization.refresh().await.is_err()
        {
            continue;
        }
        let name = authorization.identifier().to_string();
        let problem = authorization
            .challenges
            .iter()
            .find_map(|challenge| challenge.error.as_ref());
        if let Some(problem) = problem {
            return Some(AcmeError::NotSeen {
                name,
                cause: error::said(problem),
                remedy: remedy(kind),
            });
        }
    }
    None
}

fn acme_kind(kind: AcmeChallenge) -> ChallengeType {
    match kind {
        AcmeChallenge::Http01 => ChallengeType::Http01,
        AcmeChallenge::TlsAlpn01 => ChallengeType::TlsAlpn01,
    }
}

fn remedy(kind: AcmeChallenge) -> &'static str {
    match kind {
        AcmeChallenge::Http01 => {
            "It comes to port 80 of that name, which must lead to tls.redirect_listen or http.listen here"
        }
        AcmeChallenge::TlsAlpn01 => {
            "It comes to port 443 of that name, which must lead to http.listen here, with no proxy between that speaks TLS itself"
        }
    }
}

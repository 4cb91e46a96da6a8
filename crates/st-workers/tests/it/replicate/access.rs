//! A token that is changed while the provider runs.

use st_http::{Client, Config};
use st_store::AccountId;
use st_workers::provider::replicate::ApiToken;
use st_workers::provider::{Cause, Provider, QueryError, Submission, SubmitError};

use super::{TOKEN, start, submission};

fn token(text: &str) -> ApiToken {
    ApiToken::parse(text).unwrap()
}

fn for_account(account: Option<AccountId>) -> Submission {
    Submission { account, ..submission() }
}

#[tokio::test]
async fn what_was_claimed_for_another_account_is_not_sent() {
    let (fake, provider) = start().await;
    fake.world().add_account("r8_other", "other");
    let claimed = provider.account();
    provider.validate().await.unwrap();
    let validated = provider.account();
    provider.access().set_token(Some(token("r8_other")));
    for account in [claimed.clone(), validated.clone()] {
        match provider.submit(&for_account(account)).await {
            Err(SubmitError::Unavailable(error)) => {
                assert!(error.chain().contains("token of replicate was changed"));
            }
            other => panic!("nothing was sent: {other:?}"),
        }
    }
    assert_eq!(fake.world().charges().len(), 0);
    provider.submit(&for_account(provider.account())).await.unwrap();
    provider.access().set_token(Some(token(TOKEN)));
    for account in [claimed, None] {
        provider.submit(&for_account(account)).await.unwrap();
    }
    assert_eq!(fake.world().charges().len(), 3);
}

#[tokio::test]
async fn the_name_of_an_account_goes_with_its_token_and_stays_with_another_client() {
    let (fake, provider) = start().await;
    fake.world().add_account("r8_other", "other");
    provider.validate().await.unwrap();
    let name = || provider.account().and_then(|account| account.name().map(str::to_owned));
    assert_eq!(name().as_deref(), Some("tester"));
    provider.access().set_client(Client::new(Config::default()).unwrap());
    provider.access().set_token(Some(token(TOKEN)));
    assert_eq!(name().as_deref(), Some("tester"), "it is the same account");
    provider.access().set_token(Some(token("r8_other")));
    assert_eq!(name(), None);
    provider.validate().await.unwrap();
    assert_eq!(name().as_deref(), Some("other"));
}

#[tokio::test]
async fn without_a_token_nothing_is_called() {
    let (fake, provider) = start().await;
    assert!(provider.is_configured());
    provider.access().set_token(None);
    assert!(!provider.is_configured());
    assert_eq!(provider.account(), None);
    match provider.validate().await {
        Err(QueryError::Unavailable(error)) => assert_eq!(error.cause, Cause::Credentials),
        other => panic!("{other:?}"),
    }
    match provider.submit(&submission()).await {
        Err(SubmitError::Unavailable(error)) => assert_eq!(error.cause, Cause::Credentials),
        other => panic!("{other:?}"),
    }
    assert_eq!(fake.world().requests().len(), 0);
}

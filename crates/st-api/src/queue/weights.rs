//! The weights of users, teams and organizations under fair share.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use st_store::{Role, ShareLevel, ShareScope, Weight};

use super::MAX_TEXT;
use crate::input::Fields;
use crate::operation::{Group, Input, Method, Operation};
use crate::schema::word;

/// The weight of an owner under fair share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OwnerWeight {
    /// The kind of owner.
    #[schemars(schema_with = "word::<ShareLevel>")]
    pub scope: ShareLevel,
    /// Which owner.
    pub id: String,
    /// How many turns it gets for one of an owner with the weight 1.
    pub weight: f64,
}

impl OwnerWeight {
    /// The weight of this owner.
    pub fn of(scope: &ShareScope, weight: Weight) -> Self {
        Self { scope: scope.level(), id: scope.id().to_owned(), weight: weight.get() }
    }
}

/// The weights that are not the default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Weights {
    /// The weights that were set; every other owner has 1.
    pub weights: Vec<OwnerWeight>,
    /// That of every other owner.
    pub default: f64,
}

/// A weight to set.
#[derive(Debug, Clone, PartialEq)]
pub struct SetWeight {
    /// Whose.
    pub scope: ShareScope,
    /// What it becomes; `None` for the default.
    pub weight: Option<Weight>,
}

impl Input for SetWeight {
    fn read(fields: &mut Fields) -> Option<Self> {
        let level = fields.choice::<ShareLevel>("scope");
        let level = fields.require(level, "scope");
        let id = fields.non_empty_string("id", MAX_TEXT);
        let id = fields.require(id, "id");
        let is_default = fields.is_null("weight");
        let number = fields.number("weight", Weight::SMALLEST.get()..=Weight::LARGEST.get());
        let weight = if is_default { None } else { Some(fields.require(number, "weight")) };
        let scope = ShareScope::from_parts(level?, &id?);
        let weight = match weight {
            None => None,
            Some(number) => Some(Weight::new(number?).ok()?),
        };
        Some(Self { scope, weight })
    }
}

/// A weight after its change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WeightChanged {
    /// Always true: a failure is answered with a problem.
    pub success: bool,
    /// What was done, in a sentence for people.
    pub message: String,
    /// The weight now.
    pub weight: OwnerWeight,
}

/// Lists the weights.
pub const WEIGHTS: Operation<(), (), (), Weights> =
    Operation::new(Group::Queue, Method::Get, "/api/queue/weights", "list_weights")
        .summary("List the weights of owners under fair share");

/// Sets a weight.
pub const SET_WEIGHT: Operation<(), (), SetWeight, WeightChanged> =
    Operation::new(Group::Queue, Method::Put, "/api/queue/weights", "set_weight")
        .summary("Set the weight of an owner; null is the default")
        .role(Role::Admin)
        .example_body(r#"{"scope": "team", "id": "vision", "weight": 2}"#);

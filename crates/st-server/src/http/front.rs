//! What the whole server side of HTTP goes by: what may change while the server runs, and the limits
//! that may not.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arc_swap::ArcSwap;
use rustls::ServerConfig;

use super::lane::{LaneTable, Lanes};
use super::listen::{Capacity, Places};
use super::meter::Meter;
use super::peer::TrustedProxies;
use super::refused::RefusedWebhooks;
use super::site::Names;

/// How many connections one client may have, where nothing says otherwise.
pub(crate) const CONNECTIONS_PER_ADDRESS: usize = 256;

/// What may change while the server runs: all of it at once.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    /// By which names the server is known, apart from its addresses.
    pub(crate) names: Names,
    pub(crate) proxies: TrustedProxies,
    pub(crate) connections_per_address: usize,
    /// Without it, connections are in the clear.
    pub(crate) tls: Option<Arc<ServerConfig>>,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            names: Names::default(),
            proxies: TrustedProxies::default(),
            connections_per_address: CONNECTIONS_PER_ADDRESS,
            tls: None,
        }
    }
}

/// Shared by the accept loop and the middleware.
#[derive(Debug)]
pub(crate) struct Front {
    live: ArcSwap<Live>,
    pub(crate) places: Arc<Places>,
    /// How many connections were refused because their address had too many.
    pub(crate) refused: AtomicU64,
    pub(crate) lanes: Lanes,
    pub(crate) lane_of: LaneTable,
    pub(crate) meter: Meter,
    pub(crate) refused_webhooks: RefusedWebhooks,
}

impl Front {
    pub(crate) fn new(live: Live, capacity: Capacity) -> Arc<Self> {
        let Capacity { connections, streams } = capacity;
        let lanes = Lanes::within(connections.saturating_sub(streams));
        let routes = crate::api::routes();
        let operations = || routes.operations().iter().map(|operation| &operation.about);
        Arc::new(Self {
            live: ArcSwap::from_pointee(live),
            places: Places::new(connections),
            refused: AtomicU64::new(0),
            lanes,
            lane_of: LaneTable::of(operations()),
            refused_webhooks: RefusedWebhooks::default(),
            meter: Meter::of(operations()),
        })
    }

    pub(crate) fn live(&self) -> Arc<Live> {
        self.live.load_full()
    }

    /// From now on, for new connections and new requests.
    pub(crate) fn replace(&self, live: Live) {
        self.live.store(Arc::new(live));
    }
}

/// How a request came here; an extension of the request.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    pub(crate) front: Arc<Front>,
    /// As it was when the request came.
    pub(crate) live: Arc<Live>,
    /// The address of this machine that the client reached.
    pub(crate) reached: IpAddr,
}

//! Sockets: bound before a snapshot is swapped in, closed after; limits on who may connect.

use crate::drive::{self, Drive, Stream};
use crate::http;
use crate::imap::ImapHost;
use crate::server::Server;
use crate::smtp::SmtpHost;
use crate::snapshot::Rejected;
use schema::config::{Listener, Service};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tracing::{Instrument, debug, info, info_span, warn};

/// Connections that the system holds for us before we accept them.
const BACKLOG: i32 = 1024;
/// How long to wait when the system has no room for another connection.
const FULL_WAIT: Duration = Duration::from_millis(100);

/// The listening sockets.
#[derive(Default)]
pub struct Sockets {
    open: Mutex<HashMap<SocketAddr, Open>>,
}

struct Open {
    service: Service,
    socket: Arc<TcpListener>,
    /// Dropped to stop accepting.
    _stop: watch::Sender<()>,
}

/// Sockets that are bound, but not served yet.
pub struct Bound(Vec<(Listener, Arc<TcpListener>)>);

impl Sockets {
    /// Binds what `wanted` has beyond the open ones. An address that changes its service keeps its socket.
    ///
    /// # Errors
    /// [`Rejected::Listen`] for the first that cannot be bound; the others are closed again.
    pub fn bind(&self, wanted: &[Listener]) -> Result<Bound, Rejected> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bound = Vec::new();
        for listener in wanted {
            let socket = match open.get(&listener.address) {
                Some(open) if open.service == listener.service => continue,
                Some(open) => Arc::clone(&open.socket),
                None => socket(listener.address).map(Arc::new).map_err(|why| Rejected::Listen {
                    service: listener.service.name(),
                    address: listener.address,
                    why,
                })?,
            };
            bound.push((listener.clone(), socket));
        }
        Ok(Bound(bound))
    }

    /// Serves what was bound, and stops accepting on whatever `wanted` has no more. Cannot fail.
    pub fn serve(&self, bound: Bound, wanted: &[Listener], server: &Arc<Server>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        for (Listener { service, address }, socket) in bound.0 {
            let (stop, stopped) = watch::channel(());
            info!(service = service.name(), %address, "listening");
            tokio::spawn(accept(Arc::clone(&socket), service, Arc::clone(server), stopped));
            open.insert(address, Open { service, socket, _stop: stop });
        }
        open.retain(|address, open| {
            let keep = wanted.iter().any(|listener| listener.address == *address);
            if !keep {
                info!(service = open.service.name(), %address, "no longer listening");
            }
            keep
        });
    }

    /// Stops accepting everywhere.
    pub fn close(&self) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

fn socket(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for old connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

async fn accept(socket: Arc<TcpListener>, service: Service, server: Arc<Server>, mut stopped: watch::Receiver<()>) {
    loop {
        let accepted = tokio::select! {
            // The sender is dropped when the listener is taken away.
            _ = stopped.changed() => return,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => admit(stream, peer, service, &server),
            Err(error) => {
                // A peer that went away before it was accepted is nothing; no file descriptors left is not.
                if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
                    warn!(%error, service = service.name(), "cannot accept; trying again");
                    tokio::time::sleep(FULL_WAIT).await;
                }
            }
        }
    }
}

fn admit(stream: TcpStream, peer: SocketAddr, service: Service, server: &Arc<Server>) {
    let limits = &server.live.now().config.limits;
    let most = (limits.connections, limits.connections_per_address);
    let Some(place) = Crowd::enter(&server.crowd, peer.ip(), most) else {
        server.metrics.connections_refused.add(1);
        debug!(%peer, service = service.name(), "too many connections");
        let text: &[u8] = match service {
            Service::Smtp | Service::Submission => {
                b"421 4.7.0 too many connections from your address, try again later\r\n"
            }
            Service::Imap => b"* BYE too many connections from your address, try again later\r\n",
            _ => b"",
        };
        // Said if it can be said at once; a crowd is not worth waiting for.
        let _ = stream.try_write(text);
        return;
    };
    server.metrics.connections_accepted.add(1);
    server.metrics.connections.add(1);
    let id = server.next_connection.fetch_add(1, Relaxed);
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    let span = info_span!("session", id = format_args!("{:x}", server.started ^ id), service = service.name(), %peer);
    let server = Arc::clone(server);
    let served = async move {
        if let Err(error) = serve(stream, Connection { peer, service, id }, Arc::clone(&server)).await {
            debug!(%error, "connection lost");
        }
        server.metrics.connections.add(-1);
        drop(place);
    };
    tokio::spawn(served.instrument(span));
}

/// One accepted connection.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    /// Who connected.
    pub peer: SocketAddr,
    /// To which service.
    pub service: Service,
    /// Its number since the server started.
    pub id: u64,
}

async fn serve(stream: TcpStream, connection: Connection, server: Arc<Server>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let local = stream.local_addr()?;
    let tls = server.live.now().tls.clone();
    let (stream, facts) = match connection.service {
        Service::Submissions | Service::Imaps => {
            let (stream, facts) = drive::handshake(stream, tls.mail.clone()).await?;
            (stream, Some(facts))
        }
        Service::Https => {
            let (stream, _) = drive::handshake(stream, tls.http.clone()).await?;
            return http::serve(stream, connection, local, server).await;
        }
        Service::Http => return http::serve(Stream::Plain(stream), connection, local, server).await,
        Service::Smtp | Service::Submission | Service::Imap => (Stream::Plain(stream), None),
    };
    let (stream, acceptor) = (Some(stream), Some(tls.mail));
    match connection.service {
        Service::Imaps | Service::Imap => {
            let (host, session) = ImapHost::begin(connection, facts, server).await;
            Drive { stream, session, host, acceptor }.run().await
        }
        _ => {
            let (host, session) = SmtpHost::begin(connection, facts, server).await;
            Drive { stream, session, host, acceptor }.run().await
        }
    }
}

/// Who is connected, by address.
#[derive(Default)]
pub struct Crowd {
    all: AtomicU64,
    by_address: Mutex<HashMap<IpAddr, u32>>,
}

/// A place in the crowd, given back when dropped.
pub struct Place {
    crowd: Arc<Crowd>,
    address: IpAddr,
}

impl Crowd {
    /// A place for a peer, if the limits (in all, per address) have one. Loopback is not counted per address:
    /// it is proxies and the operator.
    pub fn enter(crowd: &Arc<Crowd>, address: IpAddr, most: (u32, u32)) -> Option<Place> {
        let key = neighbourhood(address);
        if crowd.all.fetch_add(1, Relaxed) >= u64::from(most.0) {
            crowd.all.fetch_sub(1, Relaxed);
            return None;
        }
        let mut by_address = crowd.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let here = by_address.entry(key).or_default();
        if *here >= most.1 && !key.is_loopback() {
            crowd.all.fetch_sub(1, Relaxed);
            return None;
        }
        *here += 1;
        Some(Place { crowd: Arc::clone(crowd), address: key })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.crowd.all.fetch_sub(1, Relaxed);
        let mut by_address = self.crowd.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(here) = by_address.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                by_address.remove(&self.address);
            }
        }
    }
}

/// What counts as one peer: an IPv4 address, or an IPv6 /64, which is what one customer gets.
pub fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        other => other,
    }
}

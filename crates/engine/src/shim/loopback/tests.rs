use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::*;

/// A free port of `::1`, by TCP and UDP.
fn free_port() -> u16 {
    let local = |listener: TcpListener| listener.local_addr().unwrap().port();
    let port = || local(TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).unwrap());
    let is_free = |port: &u16| UdpSocket::bind((Ipv6Addr::LOCALHOST, *port)).is_ok();
    std::iter::repeat_with(port).find(is_free).unwrap()
}

fn relay(protocol: Protocol, to: SocketAddr) -> Relay {
    Relay {
        protocol,
        port: free_port(),
        to,
    }
}

/// Does `work` while the relay is served, and gives back the relay.
fn served(mut loopback: Loopback, work: impl FnOnce()) -> Loopback {
    struct Ended<'a>(&'a AtomicBool);
    impl Drop for Ended<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let server = scope.spawn(|| {
            while !ended.load(Ordering::SeqCst) {
                let mut fds: Vec<_> = loopback.fds().map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
                poll(&mut fds, PollTimeout::from(20u8)).unwrap();
                loopback.serve();
            }
        });
        let _ended = Ended(&ended);
        work();
        drop(_ended);
        server.join().unwrap();
    });
    loopback
}

fn at(relay: Relay) -> SocketAddr {
    SocketAddr::from((Ipv6Addr::LOCALHOST, relay.port))
}

/// Bytes that show where they are missing.
fn bytes(count: usize) -> Vec<u8> {
    (0..count as u32).flat_map(u32::to_le_bytes).collect()
}

#[test]
fn both_ways_are_copied_and_ended_by_themselves() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let relay = relay(Protocol::Tcp, server.local_addr().unwrap());
    let mut loopback = Loopback::new().unwrap();
    assert_eq!(loopback.set(&[relay]), [""; 0]);
    let (question, answer) = (bytes(1_000_000), bytes(2_000_000));
    let served = served(loopback, || {
        thread::scope(|scope| {
            scope.spawn(|| {
                let (mut connection, _) = server.accept().unwrap();
                let mut received = Vec::new();
                connection.read_to_end(&mut received).unwrap();
                assert!(received == question);
                // The client's end has come before the answer.
                connection.write_all(&answer).unwrap();
            });
            let mut client = TcpStream::connect(at(relay)).unwrap();
            client.write_all(&question).unwrap();
            client.shutdown(std::net::Shutdown::Write).unwrap();
            let mut received = Vec::new();
            client.read_to_end(&mut received).unwrap();
            assert!(received == answer);
        });
    });
    assert!(served.clients.is_empty() && served.buffer.is_empty());
}

#[test]
fn what_nobody_reads_is_not_hoarded() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let relay = relay(Protocol::Tcp, server.local_addr().unwrap());
    let mut loopback = Loopback::new().unwrap();
    loopback.set(&[relay]);
    let mut client = TcpStream::connect(at(relay)).unwrap();
    let mut loopback = served(loopback, || {
        client.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
        // Until the kernel takes no more, which is soon.
        while client.write(&[0; 65536]).is_ok() {}
    });
    let pending: usize = loopback
        .clients
        .iter()
        .map(|client| match client {
            Client::Tcp(pair) => pair.pending(),
            Client::Udp(_) => 0,
        })
        .sum();
    assert!(pending > 0 && pending <= CHUNK, "{pending}");
    // A server that goes away takes the connection with it.
    let (connection, _) = server.accept().unwrap();
    drop(connection);
    loopback = served(loopback, || {
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        assert_eq!(
            client.read(&mut [0]).unwrap_err().kind(),
            io::ErrorKind::ConnectionReset
        );
    });
    assert!(loopback.clients.is_empty());
}

#[test]
fn a_client_is_reset_where_nobody_listens() {
    let closed = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let relay = relay(Protocol::Tcp, closed);
    let mut loopback = Loopback::new().unwrap();
    loopback.set(&[relay]);
    let loopback = served(loopback, || {
        let mut client = TcpStream::connect(at(relay)).unwrap();
        assert_eq!(
            client.read(&mut [0]).unwrap_err().kind(),
            io::ErrorKind::ConnectionReset
        );
    });
    assert!(loopback.clients.is_empty());
}

#[test]
fn each_client_gets_its_own_answers() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let relay = relay(Protocol::Udp, server.local_addr().unwrap());
    let mut loopback = Loopback::new().unwrap();
    assert_eq!(loopback.set(&[relay]), [""; 0]);
    let clients = [(); 2].map(|()| {
        let client = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
        client.connect(at(relay)).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        client
    });
    let longest = vec![7; 65_000];
    let mut loopback = served(loopback, || {
        let mut buffer = vec![0; 70_000];
        for (client, question) in clients.iter().zip([b"one".as_slice(), &longest]) {
            client.send(question).unwrap();
            let (length, from) = server.recv_from(&mut buffer).unwrap();
            assert!(buffer[..length] == *question);
            server.send_to(question, from).unwrap();
        }
        for (client, answer) in clients.iter().zip([3, 65_000]) {
            assert_eq!(client.recv(&mut buffer).unwrap(), answer);
        }
    });
    assert_eq!(loopback.clients.iter().count(), 2);
    assert!(loopback.deadline().unwrap() > Instant::now() + Duration::from_secs(60));
    // Its clients go with a port.
    assert_eq!(loopback.set(&[]), [""; 0]);
    assert!(loopback.clients.is_empty() && loopback.deadline().is_none());
}

#[test]
fn ports_come_and_go_and_one_that_is_taken_is_told() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
    let to = server.local_addr().unwrap();
    let (first, second) = (relay(Protocol::Tcp, to), relay(Protocol::Tcp, to));
    let third = Relay {
        port: taken.local_addr().unwrap().port(),
        ..first
    };
    let mut loopback = Loopback::new().unwrap();
    let warnings = loopback.set(&[first, third]);
    assert!(
        matches!(&warnings[..], [one] if one.contains(&format!("{}/tcp", third.port))),
        "{warnings:?}"
    );
    assert!(TcpListener::bind(at(first)).is_err());
    drop(taken);
    assert_eq!(loopback.set(&[second, third]), [""; 0]);
    assert!(TcpListener::bind(at(first)).is_ok());
    for open in [second, third] {
        assert!(TcpListener::bind(at(open)).is_err());
    }
    loopback.max_ports = 2;
    assert!(loopback.set(&[first, second, third])[0].contains("2 ports are served"));
}

#[test]
fn who_comes_when_there_are_too_many_waits() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp = relay(Protocol::Tcp, server.local_addr().unwrap());
    let mut loopback = Loopback::new().unwrap();
    loopback.max_clients = 1;
    loopback.set(&[tcp]);
    served(loopback, || {
        let answer = || server.accept().unwrap().0.write_all(b"x").unwrap();
        let mut first = TcpStream::connect(at(tcp)).unwrap();
        let mut second = TcpStream::connect(at(tcp)).unwrap();
        answer();
        first.read_exact(&mut [0]).unwrap();
        second.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        second.read_exact(&mut [0]).unwrap_err();
        drop(first);
        answer();
        second.set_read_timeout(None).unwrap();
        second.read_exact(&mut [0]).unwrap();
    });
}

#[test]
fn an_idle_flow_makes_room() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let relay = relay(Protocol::Udp, server.local_addr().unwrap());
    let mut loopback = Loopback::new().unwrap();
    loopback.max_clients = 2;
    loopback.set(&[relay]);
    let loopback = served(loopback, || {
        for number in 0..5u8 {
            let client = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
            client.send_to(&[number], at(relay)).unwrap();
            assert_eq!(server.recv(&mut [0]).unwrap(), 1);
        }
    });
    assert_eq!(loopback.clients.iter().count(), 2);
}

"""How messages travel: ONC RPC over UDP and TCP, and SUP's message stream, on Twisted.

`endpoint`      where TCP servers listen: Twisted's listener, or uvloop's where the reactor stands on uvloop;
                `install_reactor()` for programs; connecting
`rpc_server`    `await RpcServer([service]).listen(reactor, host, port)` serves programs; what a `Service` is given
                (`IncomingCall`) and may return or raise
`rpc_client`    `await connect_tcp(...)` and `connect_udp(...)` give a client: `await client.call("LOOKUP", arguments)`
`sup_stream`    `MessageStream`, one SUP session's connection; `listen_sup` and `connect_sup` make them
`tap`           what a recorder hears of every transport; `Address`
`limits`        what a peer may cost: `RpcLimits`, `SupLimits`
`errors`        everything that is raised, one sentence each
`foreground`    running a server as a program; `account`, whom it becomes when root starts it

Below them: `native` (Twisted protocols on uvloop's transports), `rpc_connection` (TCP side of a server), `rpc_calls`
(calls of a client that wait for their reply), `message_stream`; and without sockets `record` (record marking),
`rpc_message` (the bytes of calls and replies), `rpc_dispatch` (from a call's bytes to its reply's).
"""

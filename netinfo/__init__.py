"""NetInfo, the directory service of NeXTSTEP and early Mac OS X.

The rules of a domain have no I/O; whoever serves one gives it calls and does what comes out:

    domain = Domain(b"network", tree, access=Access(NEXT))       tree: Store(path).load(NEXT), rawformat.plant(...)
    result = domain.call(number, argument, Caller(...))          a value of the procedure's result format
    data = domain.reply(number, argument, Caller(...))           the same as XDR bytes, reading ones built only once
    domain.recall(number, Caller(...))(argument's bytes)         the same again while nothing has changed, or None
    for event in domain.take(): ...                              Changed, Replaced, CheckMaster, ResyncClones

`domain`      calls in, results and events out            `procedures`  the 29 procedures and the order of their checks
`tree`        directories, numbers, instances, positions  `index`       LOOKUP          `replies`  replies as bytes
`generation`  what differs between NeXT and Apple         `access`      callers, permissions
`networks`    from where a domain may be reached          `passwords`   hashes, verdicts, failures
`hierarchy`   who serves whom; parents                    `replication` masters and clones; READALL
`properties`  the property that a name means              `credential`  a user and password on the wire
`updates`     what a master tells its clones, and when    `statistics`  STATISTICS    `limits`  how large all may grow
`rawformat`   the text of nidump and niload -r            `nidb`        databases of the original servers
`snapshot`    a tree as it was at one moment              `events`      what comes out of a domain
`store`       a domain in SQLite, durable                 `starter`     the sample domains; what `netinfod -m` makes

A change is acknowledged only after its `Changed` event has been stored (`GroupCommit`); should that fail,
`Domain.undo` takes it back. `passwords.UnverifiedError` asks for a password verdict before anything has changed.
"""

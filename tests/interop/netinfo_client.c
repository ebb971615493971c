/*
 * A client of NetInfo in C, from docs/netinfo.x and docs/nibind.x by rpcgen, over libtirpc.
 *
 *     netinfo_client HOST NETINFO-PORT NIBIND-PORT TAG
 *
 * Calls every procedure of both programs once and prints what came back, a line a call, for the test to read.
 * The domain is to be new (three directories, as `netinfod -m` makes it) and the caller its superuser.
 */

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "netinfo.h"
#include "nibind.h"

static CLIENT *ni, *binder;
static struct timeval patience = {10, 0};

static void fail(CLIENT *client, const char *what)
{
    clnt_perror(client, what);
    exit(1);
}

/* Call a procedure through the stubs' XDR functions; prints its name and keeps a failure from going unseen. */
static void call(CLIENT *client, u_long procedure, const char *name, xdrproc_t in, void *argument, xdrproc_t out,
                 void *result, size_t size)
{
    enum clnt_stat status;

    memset(result, 0, size);
    status = clnt_call(client, procedure, in, argument, out, result, patience);
    if (status != RPC_SUCCESS)
        fail(client, name);
    printf("%s:", name);
}

#define NI(NAME, IN, ARGUMENT, OUT, RESULT) \
    call(ni, NAME, #NAME, (xdrproc_t)IN, ARGUMENT, (xdrproc_t)OUT, RESULT, sizeof *(RESULT))
#define BINDER(NAME, IN, ARGUMENT, OUT, RESULT) \
    call(binder, NAME, #NAME, (xdrproc_t)IN, ARGUMENT, (xdrproc_t)OUT, RESULT, sizeof *(RESULT))

static void show_names(ni_namelist *list)
{
    u_int i;

    printf(" (");
    for (i = 0; i < list->ni_namelist_len; i++)
        printf("%s%s", i ? "," : "", list->ni_namelist_val[i]);
    printf(")");
}

static void show_properties(ni_proplist *list)
{
    u_int i;

    for (i = 0; i < list->ni_proplist_len; i++) {
        printf(" %s", list->ni_proplist_val[i].name);
        show_names(&list->ni_proplist_val[i].values);
    }
}

static void show_id(ni_id *id) { printf(" %u.%u", id->object, id->instance); }

static ni_id show_id_result(ni_id_res *result)
{
    printf(" %d", result->status);
    if (result->status == NI_OK)
        show_id(&result->ni_id_res_u.id);
    printf("\n");
    return result->ni_id_res_u.id;
}

static CLIENT *open_tcp(const char *host, int port, u_long program, u_long version)
{
    struct sockaddr_in address;
    int sock = RPC_ANYSOCK;
    CLIENT *client;

    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    inet_pton(AF_INET, host, &address.sin_addr);
    client = clnttcp_create(&address, program, version, &sock, 0, 0);
    if (client == NULL) {
        clnt_pcreateerror(host);
        exit(1);
    }
    return client;
}

static CLIENT *open_udp(const char *host, int port, u_long program, u_long version)
{
    struct sockaddr_in address;
    struct timeval wait = {2, 0};
    int sock = RPC_ANYSOCK;
    CLIENT *client;

    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    inet_pton(AF_INET, host, &address.sin_addr);
    client = clntudp_create(&address, program, version, wait, &sock);
    if (client == NULL) {
        clnt_pcreateerror(host);
        exit(1);
    }
    return client;
}

static void read_domain(void)
{
    char nothing = 0;
    ni_id root = {0, 999};
    ni_id machines = {1, 999};
    ni_proplist statistics;
    ni_id_res id;
    ni_parent_res parent;
    ni_children_res children;
    ni_proplist_res properties;
    ni_namelist_res names;
    ni_lookup_res found;
    ni_list_res list;
    ni_listall_res all;
    ni_readname_res value;
    ni_rparent_res rparent;
    ni_lookup_args lookup = {{1, 0}, "name", "srv"};
    ni_name_args listed = {{1, 0}, "serves"};
    ni_prop_args prop = {{2, 0}, 2};
    ni_nameindex_args index = {{2, 0}, 0, 0};
    u_int i;

    NI(NI_PING, xdr_void, &nothing, xdr_void, &nothing);
    printf(" ok\n");
    NI(NI_STATISTICS, xdr_void, &nothing, xdr_ni_proplist, &statistics);
    show_properties(&statistics);
    printf("\n");
    NI(NI_ROOT, xdr_void, &nothing, xdr_ni_id_res, &id);
    show_id_result(&id);
    NI(NI_SELF, xdr_ni_id, &machines, xdr_ni_id_res, &id);
    show_id_result(&id);
    NI(NI_PARENT, xdr_ni_id, &machines, xdr_ni_parent_res, &parent);
    printf(" %d %u", parent.status, parent.ni_parent_res_u.stuff.parent);
    show_id(&parent.ni_parent_res_u.stuff.self_id);
    printf("\n");
    NI(NI_CHILDREN, xdr_ni_id, &root, xdr_ni_children_res, &children);
    printf(" %d [%u]", children.status, children.ni_children_res_u.stuff.children.ni_idlist_len);
    show_id(&children.ni_children_res_u.stuff.self_id);
    printf("\n");
    NI(NI_READ, xdr_ni_id, &root, xdr_ni_proplist_res, &properties);
    printf(" %d", properties.status);
    show_properties(&properties.ni_proplist_res_u.stuff.properties);
    printf("\n");
    NI(NI_LISTPROPS, xdr_ni_id, &machines, xdr_ni_namelist_res, &names);
    printf(" %d", names.status);
    show_names(&names.ni_namelist_res_u.stuff.names);
    printf("\n");
    NI(NI_READPROP, xdr_ni_prop_args, &prop, xdr_ni_namelist_res, &names);
    printf(" %d", names.status);
    show_names(&names.ni_namelist_res_u.stuff.names);
    printf("\n");
    NI(NI_READNAME, xdr_ni_nameindex_args, &index, xdr_ni_readname_res, &value);
    printf(" %d %s\n", value.status, value.ni_readname_res_u.stuff.name);
    NI(NI_LOOKUP, xdr_ni_lookup_args, &lookup, xdr_ni_lookup_res, &found);
    printf(" %d %u\n", found.status, found.ni_lookup_res_u.stuff.ids.ni_idlist_val[0]);
    NI(NI_LOOKUPREAD, xdr_ni_lookup_args, &lookup, xdr_ni_proplist_res, &properties);
    printf(" %d", properties.status);
    show_id(&properties.ni_proplist_res_u.stuff.id);
    show_properties(&properties.ni_proplist_res_u.stuff.properties);
    printf("\n");
    NI(NI_LIST, xdr_ni_name_args, &listed, xdr_ni_list_res, &list);
    printf(" %d", list.status);
    for (i = 0; i < list.ni_list_res_u.stuff.entries.ni_entrylist_len; i++) {
        ni_entry *entry = &list.ni_list_res_u.stuff.entries.ni_entrylist_val[i];
        printf(" %u", entry->id);
        if (entry->names)
            show_names(entry->names);
    }
    printf("\n");
    NI(NI_LISTALL, xdr_ni_id, &machines, xdr_ni_listall_res, &all);
    printf(" %d", all.status);
    for (i = 0; i < all.ni_listall_res_u.stuff.proplists.ni_proplist_list_len; i++)
        show_properties(&all.ni_listall_res_u.stuff.proplists.ni_proplist_list_val[i]);
    printf("\n");
    NI(NI_RPARENT, xdr_void, &nothing, xdr_ni_rparent_res, &rparent);
    printf(" %d\n", rparent.status);
}

static void change_domain(void)
{
    char nothing = 0;
    char *value[] = {"x"};
    char *values[] = {"a", "b"};
    ni_property name = {"name", {1, value}};
    ni_property note = {"note", {2, values}};
    ni_create_res created;
    ni_id_res id;
    ni_create_args create;
    ni_createprop_args createprop;
    ni_propname_args rename;
    ni_writeprop_args writeprop;
    ni_createname_args createname;
    ni_writename_args writename;
    ni_nameindex_args destroyname;
    ni_prop_args destroyprop;
    ni_proplist_stuff write;
    ni_destroy_args destroy;
    ni_id child, parent, root = {0, 0};

    NI(NI_ROOT, xdr_void, &nothing, xdr_ni_id_res, &id);
    root = show_id_result(&id);
    memset(&create, 0, sizeof create);
    create.parent = root;
    create.properties.ni_proplist_len = 1;
    create.properties.ni_proplist_val = &name;
    create.where = NI_INDEX_NULL;
    NI(NI_CREATE, xdr_ni_create_args, &create, xdr_ni_create_res, &created);
    child = created.ni_create_res_u.stuff.child;
    parent = created.ni_create_res_u.stuff.parent;
    printf(" %d", created.status);
    show_id(&child);
    show_id(&parent);
    printf("\n");
    createprop.id = child;
    createprop.property = note;
    createprop.where = 0;
    NI(NI_CREATEPROP, xdr_ni_createprop_args, &createprop, xdr_ni_id_res, &id);
    child = show_id_result(&id);
    rename.id = child;
    rename.prop_index = 0;
    rename.name = "remark";
    NI(NI_RENAMEPROP, xdr_ni_propname_args, &rename, xdr_ni_id_res, &id);
    child = show_id_result(&id);
    writeprop.id = child;
    writeprop.prop_index = 0;
    writeprop.values.ni_namelist_len = 2;
    writeprop.values.ni_namelist_val = values;
    NI(NI_WRITEPROP, xdr_ni_writeprop_args, &writeprop, xdr_ni_id_res, &id);
    child = show_id_result(&id);
    createname.id = child;
    createname.prop_index = 0;
    createname.name = "c";
    createname.where = NI_INDEX_NULL;
    NI(NI_CREATENAME, xdr_ni_createname_args, &createname, xdr_ni_id_res, &id);
    child = show_id_result(&id);
    writename.id = child;
    writename.prop_index = 0;
    writename.name_index = 1;
    writename.name = "B";
    NI(NI_WRITENAME, xdr_ni_writename_args, &writename, xdr_ni_id_res, &id);
    child = show_id_result(&id);
    destroyname.id = child;
    destroyname.prop_index = 0;
    destroyname.name_index = 0;
    NI(NI_DESTROYNAME, xdr_ni_nameindex_args, &destroyname, xdr_ni_id_res, &id);
    child = show_id_result(&id);
    {
        ni_proplist_res properties;

        NI(NI_READ, xdr_ni_id, &child, xdr_ni_proplist_res, &properties);
        printf(" %d", properties.status);
        show_properties(&properties.ni_proplist_res_u.stuff.properties);
        printf("\n");
    }
    destroyprop.id = child;
    destroyprop.prop_index = 0;
    NI(NI_DESTROYPROP, xdr_ni_prop_args, &destroyprop, xdr_ni_id_res, &id);
    child = show_id_result(&id);
    write.id = child;
    write.properties.ni_proplist_len = 0;
    write.properties.ni_proplist_val = NULL;
    NI(NI_WRITE, xdr_ni_proplist_stuff, &write, xdr_ni_id_res, &id);
    child = show_id_result(&id);
    NI(NI_WRITE, xdr_ni_proplist_stuff, &write, xdr_ni_id_res, &id);
    show_id_result(&id); /* stale */
    destroy.parent = parent;
    destroy.child = child;
    NI(NI_DESTROY, xdr_ni_destroy_args, &destroy, xdr_ni_id_res, &id);
    show_id_result(&id);
}

static void transfer_domain(void)
{
    char nothing = 0;
    u_int checksum = 0;
    ni_readall_res all;
    ni_object_node *node;
    ni_status status;

    NI(NI_READALL, xdr_u_int, &checksum, xdr_ni_readall_res, &all);
    printf(" %d", all.status);
    for (node = all.ni_readall_res_u.stuff.objects; node; node = node->next)
        show_id(&node->object.id);
    printf("\n");
    checksum = all.ni_readall_res_u.stuff.checksum;
    NI(NI_READALL, xdr_u_int, &checksum, xdr_ni_readall_res, &all);
    printf(" %d %u %s\n", all.status, all.ni_readall_res_u.stuff.checksum,
           all.ni_readall_res_u.stuff.objects ? "objects" : "nothing");
    NI(NI_CRASHED, xdr_u_int, &checksum, xdr_void, &nothing);
    printf(" ok\n");
    NI(NI_RESYNC, xdr_void, &nothing, xdr_ni_status, &status);
    printf(" %d\n", status);
}

static void over_udp(const char *host, int port, int binder_port)
{
    CLIENT *datagrams = open_udp(host, port, NI_PROG, NI_VERS);
    CLIENT *binds = open_udp(host, binder_port, NIBIND_PROG, NIBIND_VERS);
    struct timeval wait = {2, 0};
    struct rpc_err error;
    char nothing = 0;
    ni_id_res id;
    ni_binding binding = {"local", 0xc02aac05};
    nibind_bind_args bind = {0xc02aac05, "local", "no-such-tag"};
    enum clnt_stat status;

    status = clnt_call(datagrams, NI_PING, (xdrproc_t)xdr_void, &nothing, (xdrproc_t)xdr_void, &nothing, wait);
    printf("udp NI_PING: %d\n", status);
    status = clnt_call(datagrams, NI_ROOT, (xdrproc_t)xdr_void, &nothing, (xdrproc_t)xdr_ni_id_res, &id, wait);
    clnt_geterr(datagrams, &error);
    printf("udp NI_ROOT: %s %d\n", status == RPC_AUTHERROR ? "denied" : "served", error.re_why);
    status = clnt_call(datagrams, NI_BIND, (xdrproc_t)xdr_ni_binding, &binding, (xdrproc_t)xdr_void, &nothing, wait);
    printf("udp NI_BIND: %s\n", status == RPC_TIMEDOUT ? "silence" : "answer");
    status = clnt_call(binds, NIBIND_BIND, (xdrproc_t)xdr_nibind_bind_args, &bind, (xdrproc_t)xdr_void, &nothing, wait);
    printf("udp NIBIND_BIND: %s\n", status == RPC_TIMEDOUT ? "silence" : "answer");
}

static void ask_binder(char *tag)
{
    char nothing = 0;
    char *fresh = "cclient", *nope = "nope";
    ni_status status;
    nibind_registration registration = {"elsewhere", {700, 701}};
    nibind_getregister_res ports;
    nibind_listreg_res list;
    nibind_clone_args clone = {"cclient", "srv", 0x7f000001, "network"};
    u_int i;
    int tries;

    BINDER(NIBIND_PING, xdr_void, &nothing, xdr_void, &nothing);
    printf(" ok\n");
    BINDER(NIBIND_REGISTER, xdr_nibind_registration, &registration, xdr_ni_status, &status);
    printf(" %d\n", status);
    BINDER(NIBIND_GETREGISTER, xdr_ni_name, &registration.tag, xdr_nibind_getregister_res, &ports);
    printf(" %d %u %u\n", ports.status, ports.nibind_getregister_res_u.addrs.udp_port,
           ports.nibind_getregister_res_u.addrs.tcp_port);
    BINDER(NIBIND_UNREGISTER, xdr_ni_name, &registration.tag, xdr_ni_status, &status);
    printf(" %d\n", status);
    BINDER(NIBIND_GETREGISTER, xdr_ni_name, &nope, xdr_nibind_getregister_res, &ports);
    printf(" %d\n", ports.status);
    BINDER(NIBIND_LISTREG, xdr_void, &nothing, xdr_nibind_listreg_res, &list);
    printf(" %d", list.status);
    for (i = 0; i < list.nibind_listreg_res_u.regs.regs_len; i++)
        printf(" %s", list.nibind_listreg_res_u.regs.regs_val[i].tag);
    printf("\n");
    BINDER(NIBIND_CREATEMASTER, xdr_ni_name, &tag, xdr_ni_status, &status);
    printf(" %d\n", status); /* there already */
    BINDER(NIBIND_CREATEMASTER, xdr_ni_name, &fresh, xdr_ni_status, &status);
    printf(" %d\n", status);
    for (tries = 0; tries < 100; tries++) {
        memset(&ports, 0, sizeof ports);
        clnt_call(binder, NIBIND_GETREGISTER, (xdrproc_t)xdr_ni_name, &fresh, (xdrproc_t)xdr_nibind_getregister_res,
                  &ports, patience);
        if (ports.status == NI_OK)
            break;
        usleep(50000);
    }
    printf("ready: %d\n", ports.status);
    BINDER(NIBIND_CREATECLONE, xdr_nibind_clone_args, &clone, xdr_ni_status, &status);
    printf(" %d\n", status); /* there already */
    BINDER(NIBIND_DESTROYDOMAIN, xdr_ni_name, &fresh, xdr_ni_status, &status);
    printf(" %d\n", status);
    BINDER(NIBIND_DESTROYDOMAIN, xdr_ni_name, &nope, xdr_ni_status, &status);
    printf(" %d\n", status);
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: netinfo_client HOST NETINFO-PORT NIBIND-PORT TAG\n");
        return 2;
    }
    ni = open_tcp(argv[1], atoi(argv[2]), NI_PROG, NI_VERS);
    binder = open_tcp(argv[1], atoi(argv[3]), NIBIND_PROG, NIBIND_VERS);
    read_domain();
    change_domain();
    transfer_domain();
    over_udp(argv[1], atoi(argv[2]), atoi(argv[3]));
    ask_binder(argv[4]);
    return 0;
}

/*
 * What the benchmarks measure our server against: a NetInfo server in C, its stubs by rpcgen from docs/netinfo.x over
 * libtirpc, that answers reading calls from a table in memory.
 *
 *     netinfo_table_server CHILDREN
 *
 * The root has one child, directory 1, with CHILDREN children h000000, h000001 ... Prints its TCP port.
 */

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netinfo.h"

extern void ni_prog_2(struct svc_req *request, SVCXPRT *transport);

static u_int children;
static char (*names)[16];
static ni_entry *entries;
static ni_namelist *lists;
static char **values;

static u_int find(const char *name)
{
    u_int number = strtoul(name + 1, NULL, 10);

    return name[0] == 'h' && number < children && !strcmp(names[number], name) ? number + 2 : 0;
}

static void properties_of(u_int number, ni_proplist_stuff *stuff)
{
    static ni_property properties[2];
    static char *address = "10.1.2.3";

    properties[0].name = "name";
    properties[0].values.ni_namelist_len = 1;
    properties[0].values.ni_namelist_val = &values[number - 2];
    properties[1].name = "ip_address";
    properties[1].values.ni_namelist_len = 1;
    properties[1].values.ni_namelist_val = &address;
    stuff->properties.ni_proplist_len = 2;
    stuff->properties.ni_proplist_val = properties;
}

void *ni_ping_2_svc(void *argument, struct svc_req *request)
{
    static char nothing;

    return &nothing;
}

ni_lookup_res *ni_lookup_2_svc(ni_lookup_args *args, struct svc_req *request)
{
    static ni_lookup_res result;
    static u_int found;

    found = find(args->value);
    result.status = found ? NI_OK : NI_NODIR;
    result.ni_lookup_res_u.stuff.ids.ni_idlist_len = 1;
    result.ni_lookup_res_u.stuff.ids.ni_idlist_val = &found;
    result.ni_lookup_res_u.stuff.self_id.object = 1;
    result.ni_lookup_res_u.stuff.self_id.instance = 7;
    return &result;
}

ni_proplist_res *ni_lookupread_2_svc(ni_lookup_args *args, struct svc_req *request)
{
    static ni_proplist_res result;
    u_int found = find(args->value);

    result.status = found ? NI_OK : NI_NODIR;
    result.ni_proplist_res_u.stuff.id.object = 1;
    result.ni_proplist_res_u.stuff.id.instance = 7;
    if (found)
        properties_of(found, &result.ni_proplist_res_u.stuff);
    return &result;
}

ni_proplist_res *ni_read_2_svc(ni_id *id, struct svc_req *request)
{
    static ni_proplist_res result;
    int known = id->object >= 2 && id->object < children + 2;

    result.status = known ? NI_OK : NI_BADID;
    result.ni_proplist_res_u.stuff.id.object = id->object;
    result.ni_proplist_res_u.stuff.id.instance = 1;
    if (known)
        properties_of(id->object, &result.ni_proplist_res_u.stuff);
    return &result;
}

ni_list_res *ni_list_2_svc(ni_name_args *args, struct svc_req *request)
{
    static ni_list_res result;

    result.status = NI_OK;
    result.ni_list_res_u.stuff.entries.ni_entrylist_len = children;
    result.ni_list_res_u.stuff.entries.ni_entrylist_val = entries;
    result.ni_list_res_u.stuff.self_id.object = 1;
    result.ni_list_res_u.stuff.self_id.instance = 7;
    return &result;
}

/* The benchmarks call nothing else. */
#define UNUSED(RESULT, NAME, ARGUMENT) \
    RESULT *NAME(ARGUMENT *argument, struct svc_req *request) { return NULL; }
UNUSED(ni_proplist, ni_statistics_2_svc, void)
UNUSED(ni_id_res, ni_root_2_svc, void)
UNUSED(ni_id_res, ni_self_2_svc, ni_id)
UNUSED(ni_parent_res, ni_parent_2_svc, ni_id)
UNUSED(ni_create_res, ni_create_2_svc, ni_create_args)
UNUSED(ni_id_res, ni_destroy_2_svc, ni_destroy_args)
UNUSED(ni_id_res, ni_write_2_svc, ni_proplist_stuff)
UNUSED(ni_children_res, ni_children_2_svc, ni_id)
UNUSED(ni_id_res, ni_createprop_2_svc, ni_createprop_args)
UNUSED(ni_id_res, ni_destroyprop_2_svc, ni_prop_args)
UNUSED(ni_namelist_res, ni_readprop_2_svc, ni_prop_args)
UNUSED(ni_id_res, ni_writeprop_2_svc, ni_writeprop_args)
UNUSED(ni_id_res, ni_renameprop_2_svc, ni_propname_args)
UNUSED(ni_namelist_res, ni_listprops_2_svc, ni_id)
UNUSED(ni_id_res, ni_createname_2_svc, ni_createname_args)
UNUSED(ni_id_res, ni_destroyname_2_svc, ni_nameindex_args)
UNUSED(ni_readname_res, ni_readname_2_svc, ni_nameindex_args)
UNUSED(ni_id_res, ni_writename_2_svc, ni_writename_args)
UNUSED(ni_rparent_res, ni_rparent_2_svc, void)
UNUSED(ni_listall_res, ni_listall_2_svc, ni_id)
UNUSED(void, ni_bind_2_svc, ni_binding)
UNUSED(ni_readall_res, ni_readall_2_svc, u_int)
UNUSED(void, ni_crashed_2_svc, u_int)
UNUSED(ni_status, ni_resync_2_svc, void)

int main(int argc, char **argv)
{
    struct sockaddr_in address = {0};
    socklen_t size = sizeof address;
    SVCXPRT *transport;
    u_int i;
    int sock = socket(AF_INET, SOCK_STREAM, 0);

    if (argc != 2)
        return 2;
    signal(SIGPIPE, SIG_IGN);
    children = atoi(argv[1]);
    names = calloc(children, sizeof *names);
    values = calloc(children, sizeof *values);
    lists = calloc(children, sizeof *lists);
    entries = calloc(children, sizeof *entries);
    for (i = 0; i < children; i++) {
        snprintf(names[i], sizeof names[i], "h%06u", i);
        values[i] = names[i];
        lists[i].ni_namelist_len = 1;
        lists[i].ni_namelist_val = &values[i];
        entries[i].id = i + 2;
        entries[i].names = &lists[i];
    }
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (sock < 0 || bind(sock, (struct sockaddr *)&address, sizeof address) || listen(sock, 64))
        return 1;
    getsockname(sock, (struct sockaddr *)&address, &size);
    transport = svc_vc_create(sock, 0, 0);
    if (!transport || !svc_register(transport, NI_PROG, NI_VERS, ni_prog_2, 0))
        return 1;
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    svc_run();
    return 1;
}

-- A standalone Tarantool server, store or queue: `tarantool server.lua SETTINGS`. SETTINGS is a file in YAML (or JSON):
--
--   role: store                      # store, queue, or both
--   data: /var/lib/broadside/store   # private; its admin.sock (mode 0600) is for `broadside schema`, `… store`
--   listen: 10.0.0.5:3301
--   hosts: [10.0.0.6, 10.1.0.0/24]   # who may connect: nodes, replicas, peers. This machine always may
--   password_file: /etc/broadside/store.password          # of the user `broadside`: the verbs, nothing else
--   peers_password_file: /etc/broadside/peers.password    # queue: of the user `peer`, who may hand batons over
--   channels: [ios-news]                                  # queue
--   queue_module: bundled                                 # queue: or rock, Tarantool's queue rock
--   memory: 2147483648               # bytes
--   wal_mode: write                  # or fsync
--   replication:                     # store, with read replicas
--     others: ['10.0.0.6:3301']
--     password_file: /etc/broadside/replication.password
--     master: true                   # of a base that is yet to be made
--     quorum: 2                      # instances that must have a write before it is acknowledged (the majority)
--     failover: raft                 # from Tarantool 2.11 on: the servers elect the master. Else manual, by a person

local fio = require('fio')
local yaml = require('yaml')

local ROLES = {store = {'store'}, queue = {'tubes'}, both = {'store', 'tubes'}}
local KNOWN = {'role', 'data', 'listen', 'hosts', 'password_file', 'peers_password_file', 'channels', 'memory', 'wal_mode',
               'replication', 'queue_module'}

local function refuse(what, ...)
    io.stderr:write(('settings: ' .. what):format(...), '\n')
    os.exit(2)
end

local function read(path, what)
    local file, why = fio.open(path or '', {'O_RDONLY'})
    if file == nil then
        refuse('%s: %s cannot be read: %s', what, path or 'no file', why)
    end
    local text = file:read()
    file:close()
    return text
end

-- A password. As in the nodes: the file is not empty, and closed to other users if this user can close it. Where it
-- cannot (a secret that Docker or Kubernetes mounts), the mode is not ours to judge.
local function secret(path, what)
    local password = read(path, what):gsub('[\r\n]+$', '')
    if password == '' then
        refuse('%s: file %s is empty (write the password into it)', what, path)
    end
    if bit.band(fio.stat(path).mode, tonumber('7', 8)) ~= 0 then
        local ours = fio.open(path, {'O_WRONLY', 'O_APPEND'})
        if ours ~= nil then
            ours:close()
            refuse('%s: file %s is secret but open to every user (chmod 600 %s)', what, path, path)
        end
        io.stderr:write(('settings: %s: file %s is open to every user\n'):format(what, path))
    end
    return password
end

local given = yaml.decode(read(arg[1], 'first argument'))
for key in pairs(given) do
    local known = false
    for _, name in ipairs(KNOWN) do
        known = known or key == name
    end
    if not known then
        refuse('%s: unknown key (known: %s)', key, table.concat(KNOWN, ', '))
    end
end
for _, key in ipairs({'role', 'data', 'listen', 'password_file'}) do
    if type(given[key]) ~= 'string' then
        refuse('%s: is missing', key)
    end
end
local roles = ROLES[given.role] or refuse('role: %s is unknown (store, queue or both)', given.role)

local home = fio.dirname(fio.abspath(arg[0]))
local ours = ('%s/?.lua;%s/?/init.lua'):format(home, home)
package.path = ours .. ';' .. package.path
if given.queue_module ~= nil and given.queue_module ~= 'bundled' and given.queue_module ~= 'rock' then
    refuse('queue_module: %s is unknown (bundled or rock)', given.queue_module)
end
require('queue_module').choose(given.queue_module or 'bundled', ours)

local hosts = require('hosts')
local allowed = given.hosts or {}
if type(allowed) ~= 'table' or hosts.wrong(allowed) ~= nil then
    refuse('hosts: %s is no address (write a list of addresses or networks, as in [10.0.0.6, 10.1.0.0/24])',
           type(allowed) == 'table' and hosts.wrong(allowed) or tostring(allowed))
end
if not hosts.is_local(given.listen) and #allowed == 0 then
    refuse('hosts: is missing, and %s can be reached from other machines: whoever connects may run SQL, without a ' ..
           'password (list the nodes, replicas and peers, as in [10.0.0.6, 10.1.0.0/24])', given.listen)
end
for _, uri in ipairs(given.replication and given.replication.others or {}) do
    local other = hosts.of(uri)
    if hosts.wrong({other}) == nil and not hosts.covers(hosts.with_local(allowed, given.listen), other) then
        refuse('hosts: %s of replication.others is missing, so it could not follow (add it)', other)
    end
end

local users = {{'broadside', secret(given.password_file, 'password_file'), 'broadside_verbs'}}
if given.peers_password_file ~= nil then
    table.insert(users, {'peer', secret(given.peers_password_file, 'peers_password_file'), 'broadside_peer'})
end
local config = {
    roles = roles, directory = fio.abspath(given.data), listen = given.listen, hosts = allowed, users = users,
    channels = given.channels or {}, memory = given.memory or 1024 * 1024 * 1024,
    wal_mode = given.wal_mode or 'write', admin = true,
}
if given.replication ~= nil then
    if given.role ~= 'store' then
        refuse('replication: a queue is never replicated: its tasks would be taken twice')
    end
    config.replication = {
        others = given.replication.others or {}, master = given.replication.master, quorum = given.replication.quorum,
        password = secret(given.replication.password_file, 'replication.password_file'),
        failover = given.replication.failover or 'manual',
    }
    if config.replication.failover ~= 'manual' and config.replication.failover ~= 'raft' then
        refuse('replication.failover: %s is unknown (raft or manual)', config.replication.failover)
    elseif config.replication.failover == 'raft' and require('election').impossible() then
        refuse('replication.failover: %s (manual works with every version)', require('election').impossible())
    end
end
fio.mktree(config.directory)
fio.chmod(config.directory, tonumber('700', 8))

local instance = require('instance')
local ok, said = pcall(instance.start, config)
if not ok then
    io.stderr:write(tostring(said), '\n')
    os.exit(1)
end
instance.tell(said)

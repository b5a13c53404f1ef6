-- One Tarantool of ours, embedded or standalone: settings, roles, users, and `listen` last.

require('newer')

local fiber = require('fiber')
local hosts = require('hosts')
local json = require('json')
local leaving = require('leaving')
local quota = require('quota')
local queue_module = require('queue_module')
local replication = require('replication')
local role_files = require('role_files')
local room = require('room')
local users = require('users')
local written_by = require('written_by')

local instance = {}

local STORE_AND_QUEUE = {'store', 'tubes'}

local function roles_of(config)
    return config.roles or STORE_AND_QUEUE
end

-- Roles write only on an instance that is not read-only; a read replica gets all of it from its master.
local function start_roles(config)
    for _, role in ipairs(roles_of(config)) do
        require('roles.' .. role).start(config.channels or {})
    end
end

-- users: {{name, password, database role}...}
local function ensure_users(config)
    if box.info.ro then
        return
    end
    for _, user in ipairs(config.users) do
        users.ensure(unpack(user))
    end
end

-- Bring spaces, verbs, tubes and users to this code's version.
function instance.apply(config)
    if not box.info.ro then
        box.schema.upgrade() -- of a base that an older Tarantool made
    end
    start_roles(config)
    ensure_users(config)
    replication.apply(config.replication)
end

-- The same with the files as they are on disk now: what was loaded from them before is dropped.
function instance.reload(config)
    role_files.read()
    role_files.drop()
    instance.apply(config)
end

-- config: directory, listen, hosts?, users, channels?, roles?, memory, wal_mode, replication?, admin? (see admin.lua).
-- Returns what `instance.tell` reports; `recovered`: the seconds that it took to read its data.
function instance.start(config)
    -- Little is alive here; the garbage is batches of 80 KB. So the collector may wait for four times as much garbage:
    -- by default it took a seventh of the CPU, now a fifteenth.
    collectgarbage('setpause', 400)
    room.wait(config.directory)
    if config.replication ~= nil then
        role_files.read() -- for elections; not for a node's own, which should start fast
    end
    written_by.check(config.directory)
    local settings = {
        work_dir = config.directory, memtx_dir = '.', wal_dir = '.', vinyl_dir = '.',
        wal_mode = config.wal_mode, memtx_memory = quota.start(config.memory), memtx_max_tuple_size = 4 * 1024 * 1024,
        net_msg_max = 4096, readahead = 1024 * 1024, checkpoint_count = 2, log_level = 4,
    }
    if box.internal.feedback_daemon ~= nil then
        settings.feedback_enabled = false -- it would post versions, uuids and counts to Tarantool's makers every hour
    end
    local began = fiber.clock()
    if config.replication == nil then
        box.cfg(settings)
    else
        replication.configure(settings, config)
    end
    local recovered = fiber.clock() - began
    queue_module.complete()
    instance.apply(config)
    local tubes
    for _, role in ipairs(roles_of(config)) do
        tubes = role == 'tubes' and queue_module.told() or tubes
    end
    leaving.guard()
    if config.listen:sub(1, 1) ~= '/' then
        hosts.guard(hosts.with_local(config.hosts or {}, config.listen))
    end
    box.cfg({listen = config.listen}) -- last: a client that can connect finds everything in place
    replication.stand(config.replication, function()
        role_files.drop() -- what the roles remember is of the time when it led last
        instance.apply(config)
    end)
    require('admin').serve(config)
    return {
        ready = true, uuid = box.info.uuid, version = _TARANTOOL, read_only = box.info.ro, recovered = recovered,
        tubes = tubes,
    }
end

function instance.tell(said)
    io.stdout:write(json.encode(said), '\n')
    io.stdout:flush()
end

return instance

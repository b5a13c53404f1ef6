-- The admin socket: one line of JSON in, one out. It is in the data folder, mode 0600, and never on the network.

local backup = require('backup')
local election = require('election')
local fio = require('fio')
local json = require('json')
local log = require('log')
local socket = require('socket')
local hosts = require('hosts')
local instance = require('instance')
local replication = require('replication')

local admin = {}

-- The pages of a campaign in the ledger, with the node that walked each.
local function pages(campaign)
    local list = setmetatable({}, {__serialize = 'seq'})
    for _, page in box.space.store_pages:pairs({campaign}) do
        table.insert(list, {
            segment = page.segment, seq = page.seq, from_id = page.from_id, to_id = page.to_id, node = page.node,
            state = page.state, recipients = page.recipients, settled = page.settled, first_claimed_at = page.first_claimed_at,
        })
    end
    return list
end

-- config.admin: whether it is a server of its own; an embedded instance is its node's, which has it backed up, and
-- changes what it serves.
local function commands(config)
    local known = {
        measure = function() return backup.measure(config.roles) end,
        backup = function() return backup.take(config.roles) end,
        sizes = backup.sizes,
        -- when the node's configuration changes
        serve = function(asked)
            require('roles.tubes.node_tubes').ensure(asked.channels)
            hosts.change(hosts.with_local(asked.hosts, config.listen))
            return true
        end,
    }
    if not config.admin then
        return known
    end
    local servers = {
        status = function() return replication.status() end,
        pages = function(asked) return pages(asked.campaign) end,
        apply = function()
            instance.reload(config)
            return {schema = box.space.store_meta and box.space.store_meta:get('schema').value or box.NULL}
        end,
        promote = function(asked)
            replication.promote(asked.quorum)
            instance.apply(config)
            return replication.status()
        end,
        forget = function(asked)
            election.forget(asked.uuid)
            return replication.status()
        end,
    }
    for name, command in pairs(servers) do
        known[name] = command
    end
    return known
end

-- A command may return a second value: what to do when the client has gone.
local function answer(known, line, client)
    local ok, result, after = pcall(function()
        local asked = json.decode(line)
        local command = known[asked.command]
        if command == nil then
            error('unknown command', 0)
        end
        return command(asked)
    end)
    client:write(json.encode(ok and {ok = true, result = result} or {ok = false, error = tostring(result)}) .. '\n')
    if ok and after ~= nil then
        repeat
            local more = client:read(1) -- until the client hangs up, or is killed
        until more == nil or more == ''
        after()
    end
end

function admin.serve(config)
    local path = './admin.sock' -- relative: a socket's path ends at 107 bytes, and this process is in its data folder
    fio.unlink(path)
    local known = commands(config)
    local server = socket.tcp_server('unix/', path, function(client)
        local line = client:read('\n', 10)
        if line ~= nil and line ~= '' then
            answer(known, line, client)
        end
    end)
    if server == nil then
        local why = ('%s/admin.sock: %s'):format(fio.cwd(), require('errno').strerror())
        if config.admin then
            error(why, 0)
        end
        -- all else goes on
        log.warn('%s: no backups, and no tubes of new channels before the next start', why)
        return
    end
    fio.chmod(path, tonumber('600', 8))
end

return admin

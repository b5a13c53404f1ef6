-- A store of several instances: one master, the others read from it. Who is master is written in the base itself, with a
-- term that grows at every promotion, so that it survives restarts and an old master knows that it is one no more.

local fio = require('fio')
local log = require('log')
local netbox = require('net.box')

local replication = {}

local USER = 'replicator'
local ASK_TIMEOUT = 2 -- seconds for another instance to tell who is master
local QUORUM_TIMEOUT = 5 -- seconds for the quorum to confirm a write; then it is taken back, and its caller told

local function meta()
    return box.space.store_meta
end

-- {uuid, term, quorum} of who is master, or nil.
function replication.master()
    local row = meta() and meta():get('master')
    return row and row.value
end

-- Who do the other instances think is master? The answer with the highest term.
local function ask(options)
    local best
    for _, uri in ipairs(options.others) do
        local ok, found = pcall(function()
            local link = netbox.connect(uri, {
                user = USER, password = options.password, wait_connected = ASK_TIMEOUT, connect_timeout = ASK_TIMEOUT,
            })
            local row = link.space.store_meta and link.space.store_meta:get('master', {timeout = ASK_TIMEOUT})
            link:close()
            return row and row[2]
        end)
        if ok and found ~= nil and (best == nil or found[2] > best[2]) then
            best = found
        end
    end
    return best
end

local function sources(options)
    local uris = {}
    for i, uri in ipairs(options.others) do
        uris[i] = ('%s:%s@%s'):format(USER, options.password, uri)
    end
    return uris
end

local function default_quorum(options)
    return math.floor((#options.others + 1) / 2) + 1
end

-- The first `box.cfg` of an instance that has others beside it. options: others (host:port each), password, quorum?,
-- master (of a base that is yet to be made).
function replication.configure(settings, config)
    local options = config.replication
    fio.mktree(config.directory)
    local blank = #fio.glob(fio.pathjoin(config.directory, '*.snap')) == 0
    local known = ask(options)
    settings.replication_synchro_quorum = options.quorum or default_quorum(options)
    settings.replication_synchro_timeout = QUORUM_TIMEOUT
    if blank and options.master and known == nil then
        box.cfg(settings)
        return
    end
    settings.read_only = true
    settings.replication = sources(options)
    settings.replication_connect_quorum = blank and 1 or 0
    box.cfg(settings)
    local own = replication.master()
    if own == nil or own[1] ~= box.info.uuid then
        return
    end
    if known ~= nil and known[2] > own[2] then
        error(('this was the master of term %d, and %s is since term %d: what only this instance has was never ' ..
               'acknowledged. Move its data folder away and start it again: it comes back as a replica')
              :format(own[2], known[1], known[2]), 0)
    end
    box.cfg({read_only = false, replication = {}, replication_synchro_quorum = own[3]})
    if box.ctl.clear_synchro_queue ~= nil then
        box.ctl.clear_synchro_queue()
    end
end

-- On the master, after the schema: where more than one instance must have a write, everything of the store is written
-- with their word, or not at all. With a quorum of one nothing waits; and a replica may join: in Tarantool 2.6.0 the
-- quorum's confirmations that are written in the middle of a join make it fail ("Unknown request type 40").
function replication.synchronise(options)
    if options == nil or box.info.ro then
        return
    end
    if replication.master() == nil then
        meta():replace({'master', {box.info.uuid, 1, options.quorum or default_quorum(options)}})
    end
    box.schema.user.create(USER, {if_not_exists = true})
    box.schema.user.passwd(USER, options.password)
    box.schema.user.grant(USER, 'replication', nil, nil, {if_not_exists = true})
    local wanted = replication.master()[3] > 1
    local others = {}
    for _, space in box.space._space:pairs({512}, {iterator = 'GE'}) do
        -- who is master, and how many confirm, is written when nobody may be there to confirm it
        local synchronous = space.flags.is_sync or false
        if space.name:match('^store_') and space.name ~= 'store_meta' and synchronous ~= wanted then
            table.insert(others, space.id)
        end
    end
    for _, id in ipairs(others) do
        box.space._space:update(id, {{'=', 'flags', {is_sync = wanted}}})
    end
end

-- Make this instance the master, whoever was it before: that one must be down. A write that was acknowledged is here, for
-- this instance (or as many as the quorum said) had confirmed it; what nobody confirmed is not waited for.
-- On the master itself: another quorum.
function replication.promote(quorum)
    local before = replication.master()
    if before == nil then
        error('this instance has no store in it, so there is nothing to be master of', 0)
    end
    local term = before[2]
    if before[1] ~= box.info.uuid then
        term = term + 1
        box.cfg({replication = {}}) -- the old master has no say any more, even if it is still there
    end
    box.cfg({replication_synchro_quorum = quorum, replication_synchro_timeout = 0.5, read_only = false})
    box.ctl.clear_synchro_queue()
    box.cfg({replication_synchro_timeout = QUORUM_TIMEOUT})
    meta():replace({'master', {box.info.uuid, term, quorum}})
    log.warn('master of the store: term %d, quorum %d', term, quorum)
    return replication.status()
end

local function behind(vclock)
    return vclock and tonumber(box.info.lsn - (vclock[box.info.id] or 0)) or box.NULL
end

-- What a person wants to know. On the master each replica with how many writes it is behind; on a replica its master
-- with the seconds since.
function replication.status()
    local master = replication.master() or {}
    local instances = setmetatable({}, {__serialize = 'seq'})
    for _, other in pairs(box.info.replication) do
        if other.uuid ~= box.info.uuid then
            local up, down = other.upstream, other.downstream
            table.insert(instances, {
                uuid = other.uuid,
                follows = down ~= nil and down.status == 'follow',
                behind = down and behind(down.vclock) or box.NULL,
                followed = up ~= nil and up.status == 'follow',
                lag = up and up.lag or box.NULL,
            })
        end
    end
    return {
        uuid = box.info.uuid, read_only = box.info.ro, master = master[1] or box.NULL, term = master[2] or 0,
        quorum = master[3] or 1, lsn = tonumber(box.info.lsn), instances = instances,
    }
end

-- Where this instance's writes stand: a copy that has this has all that was written here before.
function replication.position()
    return {box.info.id, tonumber(box.info.lsn)}
end

-- Wait until this copy has the position, at most `timeout` seconds; answers whether it has.
function replication.wait(position, timeout)
    local fiber = require('fiber')
    local deadline = fiber.clock() + timeout
    while (box.info.vclock[position[1]] or 0) < position[2] do
        if fiber.clock() >= deadline then
            return false
        end
        fiber.sleep(0.005)
    end
    return true
end

return replication

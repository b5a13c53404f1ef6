-- A store of several instances: one master, and replicas that follow it. The base itself says which instance is master,
-- with a term that grows at every promotion: that survives restarts, and an old master learns that it was replaced.
--
-- No answer leaves the master before a quorum of instances has everything that the answer may rest on (`confirm`): a
-- failover undoes nothing that was acknowledged. Tarantool 2.6.0 has synchronous spaces for this, but a master that
-- died with unconfirmed writes cannot recover from them, and no replica can join a master under load
-- (docs/adr/0006-answers-wait-for-the-quorum.md). From 2.11 on the instances may elect their leader: election.lua.

local digest = require('digest')
local election = require('election')
local fiber = require('fiber')
local hosts = require('hosts')
local fio = require('fio')
local log = require('log')
local netbox = require('net.box')
local newer = require('newer')
local uri = require('uri')
local users = require('users')

local replication = {}

local USER = 'replicator'
local ASK_TIMEOUT = 2 -- seconds for another instance to say which one is master
local QUORUM_TIMEOUT = 5 -- seconds for the quorum to get a write; then the call fails, its outcome unknown
local LOOK_EVERY = 0.001 -- seconds

local quorum = 1 -- instances that must have a write, this one counted
local asked -- by a person, until the next start, of a store that elects its leader
local confirmed = 0 -- the last of our writes that the quorum has
local moved = fiber.cond() -- signalled when `confirmed` or `quorum` changes
local waiting, looking = 0, false -- how many answers wait, and whether `looker` runs

local function meta()
    return box.space.store_meta
end

local function source(other, password)
    return ('%s:%s@%s'):format(USER, password, other)
end

-- The password of the replicas' user. `box.cfg` takes it within a URI only, which has no escapes: in place of one that
-- a URI cannot carry (with `/`, `@` or `:`, say) stands its digest, on every instance.
local function password_of(options)
    local given = options.password
    local ok, parsed = pcall(uri.parse, source('127.0.0.1:3301', given))
    if ok and parsed ~= nil and parsed.login == USER and parsed.password == given and parsed.host == '127.0.0.1'
        and parsed.service == '3301' then
        return given
    end
    return digest.sha256_hex(given)
end

-- {uuid, term, quorum} of the master, or nil.
function replication.master()
    local row = meta() and meta():get('master')
    return row and row.value
end

-- Ask the other instances which one is master. Returns the answer with the highest term, and who answered.
local function ask(options)
    local best
    local answered = {}
    for _, other in ipairs(options.others) do
        local ok, found = pcall(function()
            local link = netbox.connect(other, {
                user = USER, password = password_of(options), wait_connected = ASK_TIMEOUT, connect_timeout = ASK_TIMEOUT,
            })
            local row = link.space.store_meta and link.space.store_meta:get('master', {timeout = ASK_TIMEOUT})
            link:close()
            table.insert(answered, other)
            return row and row[2]
        end)
        if ok and found ~= nil and (best == nil or found[2] > best[2]) then
            best = found
        end
    end
    return best, answered
end

local function sources(options, others)
    local uris = {}
    for i, other in ipairs(others or options.others) do
        uris[i] = source(other, password_of(options))
    end
    return uris
end

local function default_quorum(options)
    return math.floor((#options.others + 1) / 2) + 1
end

-- The first `box.cfg` of a replicated instance. options: others (host:port each), password, quorum?, master (of a base
-- that is yet to be made), failover (`raft`: by election).
function replication.configure(settings, config)
    local options = config.replication
    fio.mktree(config.directory)
    local blank = #fio.glob(fio.pathjoin(config.directory, '*.snap')) == 0
    local known, answered = ask(options)
    if newer.since(2, 11) then
        settings.bootstrap_strategy = 'legacy' -- it minds `replication_connect_quorum`
    end
    if blank and options.master and known == nil then
        box.cfg(settings)
        return
    end
    settings.read_only = true
    settings.replication_connect_quorum = blank and 1 or 0
    if blank then
        -- whoever is not there yet, or not any more, would be waited for, for half a minute
        settings.replication = sources(options, #answered > 0 and answered or nil)
    end
    box.cfg(settings) -- first alone, to read the master on our own disk before the others' news replaces it
    if options.failover == 'raft' then
        return -- read-only, until it stands for election
    elseif election.held() then
        error('this base was led by election: set failover to raft, on all servers of the store', 0)
    end
    local own = replication.master()
    if own == nil or own[1] ~= box.info.uuid then
        box.cfg({replication = sources(options)})
        return
    end
    if known ~= nil and known[2] > own[2] then
        error(('this was the master of term %d, but %s is since term %d: writes that only this one has were never ' ..
               'acknowledged. Move its data folder away and start it again: it comes back as a replica')
              :format(own[2], known[1], known[2]), 0)
    end
    box.cfg({read_only = false})
end

-- On the master, after the schema: write that it is the master, and make the user of the replicas.
function replication.apply(options)
    if options == nil or box.info.ro then
        return
    end
    if replication.master() == nil then
        meta():replace({'master', {box.info.uuid, 1, options.quorum or default_quorum(options)}})
    end
    quorum = options.failover == 'raft' and (asked or options.quorum or default_quorum(options)) or replication.master()[3]
    users.ensure(USER, password_of(options), 'replication')
end

-- Once it listens. `serve`: what a new leader does before it answers as one.
function replication.stand(options, serve)
    if options ~= nil and options.failover == 'raft' then
        election.stand(sources(options), options.quorum or default_quorum(options), serve)
    end
end

-- Find the last of our writes that enough replicas have. Returns whether it has moved.
local function look()
    local have, before = {}, confirmed
    for id, other in pairs(box.info.replication) do
        local down = other.downstream
        if id ~= box.info.id and down ~= nil and down.vclock ~= nil then
            table.insert(have, tonumber(down.vclock[box.info.id] or 0))
        end
    end
    table.sort(have, function(a, b) return a > b end)
    confirmed = math.max(confirmed, have[quorum - 1] or 0)
    return confirmed > before
end

-- One fiber looks on behalf of all answers that wait. It looks first and sleeps after.
local function looker()
    while waiting > 0 do
        if look() or box.info.ro then
            moved:broadcast()
        end
        fiber.sleep(LOOK_EVERY)
    end
    looking = false
end

-- Wait until the quorum has everything that has been written here so far.
local function confirm()
    if quorum <= 1 or box.info.ro or election.settled() then
        return
    end
    local lsn, deadline = tonumber(box.info.lsn), fiber.clock() + QUORUM_TIMEOUT
    waiting = waiting + 1
    if confirmed < lsn and not looking then
        looking = true
        fiber.create(looker)
    end
    while confirmed < lsn and quorum > 1 and not box.info.ro and fiber.clock() < deadline do
        moved:wait(deadline - fiber.clock())
    end
    waiting = waiting - 1
    if confirmed < lsn and quorum > 1 then
        box.error({code = box.error.SYNC_QUORUM_TIMEOUT,
                   reason = ('%d instances must have a write before it is acknowledged'):format(quorum)})
    end
end

local function after(term, ...)
    confirm()
    election.finish(term)
    return ...
end

-- The same verbs, but each answer waits until nothing that it rests on can be lost with this instance.
function replication.confirmed(verbs)
    local held = {}
    for name, verb in pairs(verbs) do
        held[name] = function(...)
            return after(election.begin(), verb(...))
        end
    end
    return held
end

-- Make this instance the master; the master before it must be down. Everything acknowledged is here if this instance
-- was in the quorum. On the master itself: set another quorum. With elections it may be up, unless `wanted` is given.
function replication.promote(wanted)
    if election.standing() then
        asked = wanted
        return election.promote(wanted)
    end
    wanted = wanted or 1
    local before = replication.master()
    if before == nil then
        error('this instance has no store in it, so there is nothing to be master of', 0)
    end
    local term = before[2]
    if before[1] ~= box.info.uuid then
        term = term + 1
        box.cfg({replication = {}}) -- stop following the old master, even if it is still there
    end
    box.cfg({read_only = false})
    meta():replace({'master', {box.info.uuid, term, wanted}})
    quorum, confirmed = wanted, 0 -- writes that a smaller quorum had are not confirmed by this one yet
    moved:broadcast() -- answers that wait for the old quorum now wait for the new one
    log.warn('master of the store: term %d, quorum %d', term, wanted)
end

local function behind(vclock)
    return vclock and tonumber(box.info.lsn - (vclock[box.info.id] or 0)) or box.NULL
end

-- The state for a person to read. On the master, how many writes each replica is behind; on a replica, its lag behind
-- the master in seconds.
function replication.status()
    local master = election.standing() and election.leader() or replication.master() or {}
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
        hosts = hosts.list() or box.NULL, version = _TARANTOOL, failover = election.standing() and 'raft' or 'manual',
    }
end

-- This instance's position: a replica that has reached it has everything that was written here before.
function replication.position()
    return {box.info.id, tonumber(box.info.lsn)}
end

-- Wait until this replica has reached the position, at most `timeout` seconds; returns whether it has.
function replication.wait(position, timeout)
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

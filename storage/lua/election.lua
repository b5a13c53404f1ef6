-- Failover by Tarantool's own elections, with `failover: raft`: one of the instances that reach a majority leads, and
-- nobody promotes. The store's spaces are synchronous: what a former leader has not confirmed is taken back when it
-- returns, so it follows again by itself (docs/adr/0045-the-store-elects-its-leader.md).

local fiber = require('fiber')
local log = require('log')
local newer = require('newer')

local election = {}

local MAJORITY = 'N / 2 + 1' -- of the instances that have joined
local FOREVER = 100 * 365 * 86400 -- seconds
local PROMOTE_TIMEOUT = 30 -- seconds for an instance that a person promotes to lead
local LOOK_EVERY = 0.2 -- seconds
local PAUSE = 10 -- seconds for which an instance that cannot serve as leader leaves that to the others
local FIRST_OF_OURS = 512 -- the id of the first space that is not Tarantool's own

local SETTINGS = {
    read_only = false,
    election_mode = 'candidate',
    election_timeout = 2,
    election_fencing_mode = 'strict', -- a leader without a majority stops before the others elect the next one
    replication_timeout = 1, -- no sign of life for four times as long: the leader is dead
    replication_connect_quorum = 0,
    replication_synchro_quorum = MAJORITY,
    -- What is not confirmed stays so until it is, or until the next leader decides. A time-out would take back what a
    -- reader may be waiting for.
    replication_synchro_timeout = FOREVER,
}

local standing = false
local synchronized = false -- whether all our writes wait for the majority by themselves
local served -- the term in which this instance leads, and is ready to

-- Why elections are impossible here, or nil.
function election.impossible()
    if not newer.since(2, 11) then
        return ('failover by election needs Tarantool 2.11 or later, this is %s'):format(_TARANTOOL)
    end
end

-- Whether the store elects its leader.
function election.standing()
    return standing
end

-- Whether the base was ever led by an elected instance: its writes belong to the leader since.
function election.held()
    local synchro = box.info.synchro
    return synchro ~= nil and (synchro.queue.owner or 0) ~= 0
end

local function leads()
    return served ~= nil and not box.info.ro and box.info.election.term == served
end

-- Whether this instance leads and serves. The client that asked is refused from the moment on when it no longer does.
function election.promise()
    local yes = leads()
    box.session.storage.leader = yes or nil
    return yes
end

local function over()
    box.error({code = box.error.READONLY, reason = 'this instance does not lead the store any more: ask another one'})
end

-- The term in which the client is served; nil: it did not ask for the leader, but for this instance.
function election.begin()
    if not standing or box.session.storage.leader == nil then
        return nil
    elseif not leads() then
        over()
    end
    return served
end

-- Fails if the term in which the client's call began is over: what it has read may be taken back.
function election.finish(term)
    if term ~= nil and not (leads() and served == term) then
        over()
    end
end

-- Whether nothing is unconfirmed here, so that no answer needs to wait.
function election.settled()
    return synchronized and standing and box.info.synchro.queue.len == 0
end

-- Spaces whose writes wait for the majority: all of ours.
local function synchronous()
    for _, row in box.space._space:pairs({FIRST_OF_OURS}, {iterator = 'GE'}) do
        local flags = row.flags or {}
        if not (flags.is_sync or flags.temporary or flags.type ~= nil or flags.group_id ~= nil) then
            box.space[row.name]:alter({is_sync = true})
        end
    end
    synchronized = true
end

-- How many follow this instance.
local function followers()
    local count = 0
    for _, other in pairs(box.info.replication) do
        if other.downstream ~= nil and other.downstream.status == 'follow' then
            count = count + 1
        end
    end
    return count
end

-- The first follower joins before any write waits for it: it could not confirm one until it has joined.
local function when_joined(members)
    while not box.info.ro do
        if followers() + 1 >= members then
            synchronous()
            return
        end
        fiber.sleep(LOOK_EVERY)
    end
end

local function lead(serve, members)
    box.ctl.wait_rw()
    local term = box.info.election.term
    local ok, why = pcall(serve)
    if ok then
        served = term
        log.warn('leader of the store: term %d', term)
        synchronized = false
        fiber.create(function()
            local done, failure = pcall(when_joined, members)
            if not done then
                log.error('the spaces of the store are not synchronous yet: %s', failure)
            end
        end)
        box.ctl.wait_ro()
        served = nil
        log.warn('not the leader of the store any more')
    elseif not box.info.ro then
        log.error('cannot lead the store, leaving it to the others for %d s: %s', PAUSE, why)
        box.cfg({election_mode = 'voter'})
        fiber.sleep(PAUSE)
        box.cfg({election_mode = 'candidate'})
    end
end

-- Stand for election for the life of the process. `members`: how many make a majority. `serve`: what a new leader does
-- before it answers as one.
function election.stand(sources, members, serve)
    standing = true
    local settings = table.copy(SETTINGS)
    settings.replication = sources
    box.cfg(settings)
    fiber.create(function()
        fiber.name('election')
        while true do
            lead(serve, members)
        end
    end)
end

-- Make this instance the leader. With `quorum`, so many instances are enough, until it is started again.
function election.promote(quorum)
    box.cfg({replication_synchro_quorum = quorum or MAJORITY})
    local deadline = fiber.clock() + PROMOTE_TIMEOUT
    while not leads() do
        local _, why = pcall(box.ctl.promote)
        if fiber.clock() > deadline then
            error(('it does not lead after %d s: %s'):format(PROMOTE_TIMEOUT, why or 'it is not ready to'), 0)
        end
        fiber.sleep(LOOK_EVERY)
    end
end

-- {uuid, term, quorum} of the leader, as this instance knows it; the uuid is null while there is none.
function election.leader()
    local known = box.info.replication[box.info.election.leader]
    return {known and known.uuid or box.NULL, box.info.election.term, box.info.synchro.quorum}
end

-- Let an instance that never comes back count no longer.
function election.forget(uuid)
    for _, row in box.space._cluster:pairs() do
        local other = row[2] == uuid and box.info.replication[row[1]]
        if other then
            if uuid == box.info.uuid or other.downstream ~= nil and other.downstream.status == 'follow' then
                error(('instance %s is here: stop it first'):format(uuid), 0)
            end
            box.space._cluster:delete({row[1]})
            return
        end
    end
    error(('there is no instance %s (see: broadside store status)'):format(uuid), 0)
end

return election

-- Nodes and their epochs. An epoch is granted here, and raised when a node's queue is not the one that we knew.

local atomic = require('roles.atomic')
local clock = require('roles.clock')
local nodes = {}

-- Seconds that a queue may go on without hearing from the store. It counts them from before it asked.
nodes.LEASE = 10
-- Seconds more, for clocks that do not run equally fast, until the store holds a lease to be over.
local MARGIN = 1

-- name -> {seen_at, clock}: which renewal this instance knows, and since when by its own clock. Not stored: who has just
-- started, or has just become the master, counts from its first look.
local renewed = {}

local function note_renewal(name, now)
    renewed[name] = {now, clock.now()}
end

-- Has the node's lease surely run out? Only a renewal writes seen_at, so another one than we know is a newer lease.
function nodes.lease_over(node)
    local known = renewed[node.name]
    if known == nil or known[1] ~= node.seen_at then
        note_renewal(node.name, node.seen_at)
        return false
    end
    return clock.now() > known[2] + nodes.LEASE + MARGIN
end

-- Is this epoch the one that may claim?
function nodes.current(name, epoch)
    local node = box.space.store_nodes:get(name)
    return node ~= nil and node.status == 'current' and node.epoch == epoch
end

-- Is this epoch one that may report? A fenced one may, until its pages are open.
function nodes.reports(name, epoch)
    local node = box.space.store_nodes:get(name)
    return node ~= nil and node.status ~= 'forgotten' and node.epoch == epoch
end

local function unsettled(name)
    local keys = {}
    for _, state in ipairs({'claimed', 'enqueued'}) do
        for _, page in box.space.store_pages.index.state:pairs({state, name}) do
            table.insert(keys, {page.campaign, page.segment, page.seq, tonumber(page.epoch)})
        end
    end
    return keys
end

-- Unsettled pages of a fenced owner turn open: whoever claims one takes over what is not yet settled of it.
local function reopen(name, epoch)
    for _, key in ipairs(unsettled(name)) do
        if table.remove(key) == tonumber(epoch) then
            box.space.store_pages:update(key, {{'=', 'state', 'open'}})
        end
    end
end

-- Clause 1. `epoch`: what the queue holds (0: nothing). Answers the epoch to go on with; another one than the queue's
-- means: purge and adopt. Answers nil while a fenced epoch's lease may still hold: its reports come first. Refuses a
-- second queue under a registered name. `channels`: the names that this node serves.
function nodes.node_join(name, uuid, epoch, now, channels)
    nodes.release_fenced()
    return atomic(function()
        local node = box.space.store_nodes:get(name)
        if node ~= nil and node.status == 'fenced' then
            return nil
        end
        if node ~= nil and node.status == 'current' and node.uuid ~= uuid then
            error(('node name %q is taken by queue %s (this one is %s): give this node a name of its own, or forget the ' ..
                   'old one: broadside peers forget %s'):format(name, node.uuid, uuid, name), 0)
        end
        if node ~= nil and node.status == 'current' and node.epoch == epoch and epoch > 0 then
            box.space.store_nodes:update(name, {{'=', 'channels', channels}})
            return epoch
        end
        local granted = math.max(tonumber(node and node.epoch or 0), tonumber(epoch)) + 1
        if node ~= nil then
            reopen(name, node.epoch)
        end
        box.space.store_nodes:replace({name, uuid, granted, 'current', 0, now, now, channels})
        note_renewal(name, now)
        return granted
    end)
end

-- May this owner's queue go on for another lease?
function nodes.renew(name, epoch, now)
    if not nodes.current(name, epoch) then
        return false
    end
    box.space.store_nodes:update(name, {{'=', 'seen_at', now}})
    note_renewal(name, now)
    return true
end

-- Clause 9, the first step: nothing is claimed or renewed in this epoch any more. Answers the status that the node has
-- now, or nil when there is none of that name.
function nodes.node_forget(name)
    local known = atomic(function()
        local node = box.space.store_nodes:get(name)
        if node ~= nil and node.status == 'current' then
            box.space.store_nodes:update(name, {{'=', 'status', 'fenced'}})
        end
        return node ~= nil
    end)
    nodes.release_fenced()
    return known and box.space.store_nodes:get(name).status or nil
end

-- Clause 9, the second step: when a fenced epoch's lease has run out its reports are refused too and its pages turn open,
-- in one transaction. Anybody may ask for it at any time. Answers the names.
function nodes.release_fenced()
    local released = {}
    for _, row in ipairs(box.space.store_nodes.index.name:select()) do
        atomic(function()
            local node = box.space.store_nodes:get(row.name) -- as it is now: the last commit may have taken its time
            if node.status == 'fenced' and nodes.lease_over(node) then
                reopen(node.name, node.epoch)
                box.space.store_nodes:update(node.name, {{'=', 'status', 'forgotten'}})
                table.insert(released, node.name)
            end
        end)
    end
    return released
end

-- {name, uuid, epoch, status, seen_at, may it hold a lease, pages unsettled} each.
function nodes.node_list()
    local list = {}
    for _, node in ipairs(box.space.store_nodes:select()) do
        local leased = node.status ~= 'forgotten' and not nodes.lease_over(node)
        table.insert(list, {node.name, node.uuid, node.epoch, node.status, node.seen_at, leased, #unsettled(node.name)})
    end
    return list
end

return nodes
